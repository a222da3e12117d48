"""Where in a line's text a JSON pointer leads, without changing a byte of it."""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from contracts.strict_json import pointer

_SPACE = re.compile(r"[ \t\n\r]*")

#: Values are only skipped here, so digits stay text: numbers may be longer than Python reads.
_skip_value = json.JSONDecoder(parse_int=len, parse_float=len).raw_decode


class Place(NamedTuple):
    """Where a value is: its text is ``text[start:end]``. ``name`` is where its name begins, or itself in a list."""

    name: int
    start: int
    end: int


def place_of(text: str, where: str, start: int = 0) -> Place:
    """Return the place of what a pointer leads to, from the value at ``start``; where it is missing, of what it is in.

    Of a repeated name it is the last one, which is the one that counts.

    Raises:
        ValueError: this is not JSON.
        RecursionError: it is nested deeper than Python's stack.
    """
    start = _after_space(text, start)
    found = Place(start, start, _skip_value(text, start)[1])
    for token in where.split("/")[1:]:
        inner = None
        for name, place in children(text, found.start):
            if pointer((name,)) == f"/{token}":
                inner = place
        if inner is None:
            return found
        found = inner
    return found


def children(text: str, start: int) -> Iterator[tuple[str | int, Place]]:
    """Yield the entries of the object or list that begins at ``start``; none for any other value. Raises as above."""
    opening = text[start : start + 1]
    if opening not in {"{", "["}:
        return
    at, index = _after_space(text, start + 1), 0
    while text[at : at + 1] not in {"}", "]", ""}:
        name: str | int = index
        begin = at
        if opening == "{":
            name, at = _skip_value(text, at)
            at = _after_space(text, _after_space(text, at) + 1)
        _, end = _skip_value(text, at)
        yield name, Place(begin, at, end)
        index += 1
        at = _after_space(text, end)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None
    return found.end()
