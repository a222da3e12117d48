"""The rules of a text, wherever a format has one."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contracts.strict_json import Path
from handlers.validation.problems import Problem, missing, wrong_type

#: What models use as control tokens. In a text they are data, and a tokenizer may take them for the real thing.
SPECIAL_TOKEN = re.compile(
    r"<\|\w{1,40}\|>|<｜[^<>]{1,40}｜>|\[/?INST\]|</s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
)


def check_text(path: Path, text: str) -> Iterator[Problem]:
    """Yield a problem where a text holds what a tokenizer may take for a control token."""
    if found := SPECIAL_TOKEN.search(text):
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
