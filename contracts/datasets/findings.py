"""What can be wrong with a dataset: stable codes, their severity, and one entry a finding."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct

Severity = Literal["error", "warning", "note"]

#: What a code is about: one line, one file as a whole, the dataset, or the dataset read by one model's tokenizer.
Scope = Literal["line", "file", "dataset", "model"]


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault of one line.

    ``line`` is 1-based (a finding about the whole file has line 1); ``pointer`` is an RFC 6901 JSON pointer into the
    line's object, empty for the whole line; ``file`` is the index of the file in the dataset.
    """

    line: int
    pointer: str
    code: str
    severity: Severity
    message: str
    hint: str = ""
    file: int = 0


class Code(NamedTuple):
    """What a code means. ``formats`` are those it can be found in; none: all of them."""

    severity: Severity
    scope: Scope
    meaning: str
    formats: tuple[str, ...] = ()


_CHAT = ("sft", "preference")
_SFT = ("sft",)
_PREFERENCE = ("preference",)
_RANKING = ("ranking",)

#: Every code there is. A code is never renamed and never changes its severity.
CODES: dict[str, Code] = {
    # the file
    "empty-file": Code("error", "file", "the file has no samples"),
    "wrong-format": Code("error", "file", "the file is in another format than the one it is read as"),
    "byte-order-mark": Code("note", "file", "the file begins with a byte-order mark, which is skipped"),
    "crlf-line-endings": Code("note", "file", "lines end with CR LF, which is read as LF"),
    # the line
    "invalid-utf8": Code("error", "line", "the line is not UTF-8"),
    "invalid-json": Code("error", "line", "the line is not JSON as RFC 8259 has it"),
    "several-objects-on-line": Code("error", "line", "the line holds more than one object"),
    "not-an-object": Code("error", "line", "the line is JSON, but not an object"),
    "duplicate-key": Code("error", "line", "an object has the same name twice"),
    "line-too-long": Code("error", "line", "the line is longer than 16 MiB"),
    "blank-line": Code("note", "line", "the line is blank, which is skipped"),
    # the object
    "missing-field": Code("error", "line", "a required field is not there"),
    "wrong-type": Code("error", "line", "a value has another type than its field"),
    "unknown-field": Code("warning", "line", "the format has no such field, which is ignored"),
    "special-token-in-text": Code("warning", "line", "a text holds what looks like a control token of a model"),
    "duplicate-sample": Code("warning", "line", "an earlier line of the dataset is the same"),
    # conversations
    "empty-messages": Code("error", "line", "there are no messages", _CHAT),
    "unknown-role": Code("error", "line", "a message has a role that is not known", _CHAT),
    "empty-content": Code("error", "line", "a message has no text", _CHAT),
    "system-not-first": Code("error", "line", "a system message is not the first message", _CHAT),
    "no-assistant-message": Code("error", "line", "no message is from the assistant", _CHAT),
    "last-message-not-assistant": Code("error", "line", "the last message is not from the assistant", _CHAT),
    "consecutive-assistant-messages": Code("error", "line", "the assistant speaks twice in a row", _CHAT),
    "roles-not-alternating": Code("warning", "line", "user and assistant do not take turns", _CHAT),
    "loss-weight-not-allowed": Code("error", "line", "a message that is never trained on has a loss weight", _CHAT),
    "loss-weight-out-of-range": Code("error", "line", "a loss weight is not between 0 and 1", _CHAT),
    "nothing-to-train": Code("error", "line", "every assistant message has the loss weight 0", _SFT),
    "reasoning-not-on-last-assistant": Code(
        "error", "line", "reasoning is on another message than the last from the assistant", _CHAT
    ),
    # function calling
    "tools-missing": Code("error", "line", "a message calls a tool, but the sample has no tools", _CHAT),
    "unknown-tool": Code("error", "line", "a message calls a tool that the sample does not have", _CHAT),
    "invalid-tool-schema": Code("error", "line", "a tool's description cannot be used", _CHAT),
    "tool-arguments-not-json": Code("error", "line", "the arguments of a call are not JSON", _CHAT),
    "tool-call-count-mismatch": Code("error", "line", "calls and the tool messages that answer them differ", _CHAT),
    "parallel-tool-calls-not-allowed": Code(
        "error", "line", "a message calls several tools where parallel_tool_calls is false", _CHAT
    ),
    # preferences
    "candidate-count": Code("error", "line", "there are not 2 to 5 candidates", _PREFERENCE),
    "score-out-of-range": Code("error", "line", "a score is not between 0 and 1", _PREFERENCE),
    "no-preference-pair": Code("error", "line", "no candidate scores higher than another", _PREFERENCE),
    "candidates-not-last": Code("error", "line", "candidates are on another message than the last", _PREFERENCE),
    # ranking and pretraining
    "empty-docs": Code("error", "line", "there are no documents", _RANKING),
    "invalid-label": Code("error", "line", "a label is not 0, 1, true or false", _RANKING),
    "positive-count": Code("error", "line", "there is not exactly one positive document", _RANKING),
    "too-many-negatives": Code("error", "line", "there are more than 5 negative documents", _RANKING),
    "empty-text": Code("error", "line", "a text is empty", ("ranking", "pretrain")),
    # the dataset
    "too-few-samples": Code("warning", "dataset", "there are hardly enough samples to learn from"),
    "sample-too-long": Code("error", "model", "a sample is longer than the model's context"),
}

#: Errors of a whole file: no line of it is at fault alone.
FILE_ERRORS = frozenset(name for name, code in CODES.items() if code.scope == "file" and code.severity == "error")


def errors_among(codes: Iterable[str]) -> list[str]:
    """Return which of these codes make a sample or a file invalid, sorted. One that is not known here does. Pure."""
    return sorted(code for code in codes if code not in CODES or CODES[code].severity == "error")


def codes_of(format: str) -> frozenset[str]:
    """Return the codes that reading a file of a format can give."""
    return frozenset(
        name
        for name, code in CODES.items()
        if code.scope in {"line", "file"} and (not code.formats or format in code.formats)
    )
