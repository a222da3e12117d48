"""The rules of the format ``sft``, as a pure function of one decoded object: every fault, not the first.

How lines and bytes become objects is in scan.py. contracts/datasets/sft.py says the shape that these rules accept.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from contracts.datasets.sft import ROLES
from contracts.spelling import clip, nearest
from contracts.strict_json import Path
from handlers.validation.problems import Problem, is_number, missing, optional_strings, unknown_fields, wrong_type
from handlers.validation.rules_tools import check_calls, check_tools, tool_names
from handlers.validation.rules_turns import check_turns

_SAMPLE = ("messages", "tools", "parallel_tool_calls", "thinking")
_COMMON = ("role", "content", "loss_weight", "reasoning_content", "name")
_FIELDS = {
    "system": _COMMON,
    "user": _COMMON,
    "assistant": (*_COMMON, "tool_calls"),
    "tool": (*_COMMON, "tool_call_id"),
}
_ANY_FIELD = (*_COMMON, "tool_calls", "tool_call_id")

#: What models use as control tokens. In a text they are data, and a tokenizer may take them for the real thing.
_SPECIAL_TOKEN = re.compile(
    r"<\|\w{1,40}\|>|<｜[^<>]{1,40}｜>|\[/?INST\]|</s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
)


class _Sample(NamedTuple):
    """What a message is judged by besides itself."""

    last_assistant: int
    tools: frozenset[str] | None
    parallel: bool


def check_sft(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of one sample. Never raises on what JSON can hold."""
    yield from unknown_fields((), sample, _SAMPLE)
    parallel = sample.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        yield wrong_type(("parallel_tool_calls",), parallel, "a boolean")
    if not isinstance(sample.get("thinking"), str | bool | dict | None):
        yield wrong_type(("thinking",), sample["thinking"], "a string, a boolean or an object")
    yield from check_tools(sample.get("tools"))
    messages = sample.get("messages")
    if "messages" not in sample:
        yield missing(("messages",), 'a sample is {"messages": [...]}')
    elif not isinstance(messages, list):
        yield wrong_type(("messages",), messages, "a list")
    elif not messages:
        yield Problem(("messages",), "empty-messages", "messages is empty", "write a user and an assistant message")
    else:
        yield from _check_messages(messages, sample.get("tools"), parallel is not False)


def count_roles(sample: dict[str, Any]) -> Iterator[str]:
    """Yield the role of each message of a valid sample."""
    for message in sample["messages"]:
        yield message["role"]


def _check_messages(messages: list[Any], tools: Any, parallel: bool) -> Iterator[Problem]:
    roles = [_role(message) for message in messages]
    last = max((index for index, role in enumerate(roles) if role == "assistant"), default=-1)
    context = _Sample(last, tool_names(tools), parallel)
    calling = [_calls(message) if role == "assistant" else 0 for message, role in zip(messages, roles, strict=True)]
    for index, (message, role) in enumerate(zip(messages, roles, strict=True)):
        if isinstance(message, dict):
            yield from _check_message(index, message, role, context)
        else:
            yield wrong_type(("messages", index), message, "an object")
    if any(calling) and (tools is None or tools == []):
        yield Problem(("tools",), "tools-missing", "a message calls a tool, but there are no tools", "list the tools")
    yield from check_turns(roles, calling)
    weights = [message.get("loss_weight") for message, role in zip(messages, roles, strict=True) if role == "assistant"]
    if weights and all(is_number(weight) and weight == 0 for weight in weights):
        message = "every assistant message has loss_weight 0"
        yield Problem(("messages",), "nothing-to-train", message, "give one assistant message a weight above 0")


def _role(message: Any) -> str | None:
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) and role in ROLES else None


def _calls(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls")
    return len(calls) if isinstance(calls, list) else 0


def _check_message(index: int, message: dict[str, Any], role: str | None, context: _Sample) -> Iterator[Problem]:
    path: Path = ("messages", index)
    yield from unknown_fields(path, message, _FIELDS[role] if role else _ANY_FIELD)
    yield from optional_strings(path, message, ("name", "tool_call_id") if role == "tool" else ("name",))
    if role is None:
        yield _bad_role((*path, "role"), message)
    yield from _check_content((*path, "content"), message, may_be_empty=role == "assistant" and _calls(message) > 0)
    yield from _check_weight((*path, "loss_weight"), message.get("loss_weight"), role)
    yield from _check_reasoning((*path, "reasoning_content"), message.get("reasoning_content"), index, context)
    if role == "assistant":
        yield from _check_tool_calls((*path, "tool_calls"), message.get("tool_calls"), context)


def _bad_role(path: Path, message: dict[str, Any]) -> Problem:
    role = message.get("role")
    if "role" not in message:
        return missing(path, f"one of {', '.join(ROLES)}")
    if not isinstance(role, str):
        return wrong_type(path, role, "a string")
    close = nearest(role, ROLES)
    hint = f"did you mean {close!r}?" if close else f"one of {', '.join(ROLES)}"
    return Problem(path, "unknown-role", f"{clip(role)!r} is not a role", hint)


def _check_content(path: Path, message: dict[str, Any], *, may_be_empty: bool) -> Iterator[Problem]:
    content = message.get("content")
    if "content" not in message:
        yield missing(path, 'add content; beside tool_calls it may be ""' if may_be_empty else "")
    elif not isinstance(content, str):
        yield wrong_type(path, content, "a string", 'beside tool_calls it may be ""' if may_be_empty else "")
    elif not content and not may_be_empty:
        yield Problem(path, "empty-content", "content is empty", "only a message with tool_calls may have no text")
    else:
        yield from _check_text(path, content)


def _check_text(path: Path, text: str) -> Iterator[Problem]:
    if found := _SPECIAL_TOKEN.search(text):
        hint = "remove it, unless the model shall learn to read it as text"
        yield Problem(path, "special-token-in-text", f"{found[0]!r} looks like a control token", hint)


def _check_weight(path: Path, weight: Any, role: str | None) -> Iterator[Problem]:
    if weight is None:
        return
    if not is_number(weight):
        yield wrong_type(path, weight, "a number")
    elif role == "assistant" and not 0 <= weight <= 1:
        yield Problem(path, "loss-weight-out-of-range", f"loss_weight is {clip(str(weight), 20)}", "0.0 to 1.0")
    elif role in {"system", "user", "tool"} and weight != 0:
        message = f"a {role} message is never trained on: its loss_weight is 0.0 and cannot be changed"
        yield Problem(path, "loss-weight-not-allowed", message, "remove loss_weight")


def _check_reasoning(path: Path, reasoning: Any, index: int, context: _Sample) -> Iterator[Problem]:
    if reasoning is None:
        return
    if not isinstance(reasoning, str):
        yield wrong_type(path, reasoning, "a string")
        return
    if index != context.last_assistant:
        message = "only the last assistant message may have reasoning_content"
        yield Problem(path, "reasoning-not-on-last-assistant", message, "remove it here")
    yield from _check_text(path, reasoning)


def _check_tool_calls(path: Path, calls: Any, context: _Sample) -> Iterator[Problem]:
    if calls is None:
        return
    if not isinstance(calls, list):
        yield wrong_type(path, calls, "a list")
        return
    if len(calls) > 1 and not context.parallel:
        message = f"{len(calls)} calls in one message, but parallel_tool_calls is false"
        yield Problem(path, "parallel-tool-calls-not-allowed", message, "one call a message, or allow parallel calls")
    yield from check_calls(path, calls, context.tools)
