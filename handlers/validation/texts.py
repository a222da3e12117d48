"""The rules of a text, wherever a format has one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.strict_json import Path
from handlers.validation.problems import Problem, missing, wrong_type

#: What models use as control tokens. In a text they are data, and a tokenizer may take them for the real thing.
_SPECIAL_TOKEN = re.compile(
    r"<\|\w{1,40}\|>|<｜[^<>]{1,40}｜>|\[/?INST\]|</s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
)


#: Every control token holds one of these, and looking for them is much faster.
_MARKS = ("<|", "<｜", "</s>", "_of_turn>", "<bos>", "<eos>", "<pad>")


def holds_special_token(text: str) -> bool:
    """Return whether a text holds what a tokenizer may take for a control token."""
    if "<" not in text and "[" not in text:
        return False
    return ("INST]" in text or any(mark in text for mark in _MARKS)) and _SPECIAL_TOKEN.search(text) is not None


def add_plain_text(texts: list[str], said: Sequence[Any]) -> bool:
    """Append what was said as one text, unless it holds a special token. Raises TypeError where it is not all text."""
    text = "\n".join(said)
    if holds_special_token(text):
        return False
    texts.append(text)
    return True


def are_plain_texts(values: Sequence[Any]) -> bool:
    """Return whether all are texts and none holds a special token."""
    if set(map(type, values)) != {str}:
        return False
    return not any(map(holds_special_token, [text for text in values if "<" in text or "[" in text]))


def check_text(path: Path, text: str) -> Iterator[Problem]:
    """Yield a problem where a text holds what a tokenizer may take for a control token."""
    if found := _SPECIAL_TOKEN.search(text):
        hint = "remove it, unless the model shall learn to read it as text"
        yield Problem(path, "special-token-in-text", f"{found[0]!r} looks like a control token", hint)


def required_text(path: Path, given: Mapping[str, Any], name: str, empty: str, hint: str) -> Iterator[Problem]:
    """Yield every problem of the field ``name``, a text that must not be empty: ``empty`` is the code where it is."""
    place = (*path, name)
    if name not in given:
        yield missing(place)
    elif not isinstance(given[name], str):
        yield wrong_type(place, given[name], "a string")
    elif not given[name]:
        yield Problem(place, empty, f"{name} is empty", hint)
    else:
        yield from check_text(place, given[name])
