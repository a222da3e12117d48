"""What the rules of every format share: a problem of one object, and the words for types and names."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from contracts.spelling import clip, nearest
from contracts.strict_json import Path

#: What a value of a type is called. A bool is an int to Python, never to a dataset: ask ``type(value)``.
_NAMES = {
    str: "a string", int: "a number", float: "a number", bool: "a boolean", list: "a list", type(None): "null",
}  # fmt: skip

#: How a value of a type is written.
_SPELLED = {
    "a string": "write it in double quotes",
    "a number": "write it without quotes, as in 1.0",
    "a boolean": "write true or false, without quotes",
    "a list": "write it in [ ]",
    "an object": "write it in { }",
}


class Problem(NamedTuple):
    """One fault of one object: where in it, which code, and how to mend it."""

    path: Path
    code: str
    message: str
    hint: str = ""


def name_of_type(value: Any) -> str:
    """Return what people call the JSON type of a value."""
    return "an object" if isinstance(value, dict) else _NAMES[type(value)]


def is_number(value: Any) -> bool:
    """Return whether a value is a JSON number; true and false are not."""
    return type(value) in {int, float}


def missing(path: Path, hint: str = "") -> Problem:
    """Return the problem of a required field that is not there."""
    return Problem(path, "missing-field", f"{path[-1]} is missing", hint or f"add {path[-1]}")


def wrong_type(path: Path, value: Any, expected: str, hint: str = "") -> Problem:
    """Return the problem of a value of another type than expected."""
    what = f"entry {path[-1]}" if isinstance(path[-1], int) else path[-1]
    message = f"{what} must be {expected}, but is {name_of_type(value)}"
    return Problem(path, "wrong-type", message, hint or _SPELLED.get(expected, f"write {expected}"))


def optional_strings(path: Path, given: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a problem for each of these fields that is neither absent, null nor a string."""
    for name in names:
        if not isinstance(given.get(name), str | None):
            yield wrong_type((*path, name), given[name], "a string")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 call, 2 calls."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def unknown_fields(path: Path, given: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a problem for each field that the format does not have here."""
    for name in given:
        if name not in known:
            yield Problem((*path, name), "unknown-field", f"{clip(name)!r} is not a field here", _meant(name, known))


@lru_cache(maxsize=1024)
def _meant(name: str, known: tuple[str, ...]) -> str:
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close else f"known here: {', '.join(known)}"
