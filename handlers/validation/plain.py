"""Recognising lines without any fault many at a time, so that only the others are judged by the rules one by one.

A block of lines is parsed as one array by a parser in C, and each object looked at once. Whatever is in any way unusual
is left to the rules: a line that is found plain here has no finding there (a law in the tests).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import compress
from typing import Any, NamedTuple

import orjson

from handlers.validation.statistics import Counted
from handlers.validation.texts import holds_special_token

#: All that is counted of a sample. The first entry is the number of strings in it, names and values.
Shape = tuple[int, ...]

_ESCAPED_QUOTE = re.compile(rb"\\u0022")


class Plain(NamedTuple):
    """How the plain samples of a format are recognised.

    ``shape(object, texts)`` returns the shape of a plain sample and appends its texts, every string that may hold a
    quote. For any other it returns None or raises KeyError or TypeError. ``counted(shape)`` is what is counted of it.
    """

    shape: Callable[[Any, list[str]], Shape | None]
    counted: Callable[[Shape], Mapping[Counted, int]]


def plain_lines(body: bytes, plain: Plain, shapes: Counter[Shape]) -> list[bool]:
    """Return for each line of a block whether it is plain; ``shapes`` gets the shapes of those that are."""
    objects = _objects(body)
    if objects is not None:
        found, texts = _shapes(objects, plain)
        several = Counter(found)
        faulty = several.pop(None, 0)
        lines = b"\n".join(compress(body.split(b"\n"), found)) if faulty else body
        strings = sum(shape[0] * times for shape, times in several.items() if shape)
        if _is_faithful(lines, strings, "\n".join(texts)):
            shapes.update({shape: times for shape, times in several.items() if shape})
            return [shape is not None for shape in found]
    middle = body.find(b"\n", len(body) // 2)
    if middle < 0:
        middle = body.rfind(b"\n")
    if middle < 0:
        return [False]
    return plain_lines(body[:middle], plain, shapes) + plain_lines(body[middle + 1 :], plain, shapes)


def _objects(body: bytes) -> list[Any] | None:
    """Return the value of each line, or None where the lines are not one JSON value each.

    They are read as one array: each LF becomes the element 0 of it. A CR stands for it, which a string cannot hold
    either, so that no string spans two lines; a value that spans two has a 0 inside, or is no JSON; and what else is
    on a line is one element too many.
    """
    joined = body.replace(b"\n", b"\r,0,")
    lines = (len(joined) - len(body)) // 3 + 1
    try:
        values: list[Any] = orjson.loads(b"[" + joined + b"]")
    except orjson.JSONDecodeError:
        return None
    return values[::2] if len(values) == 2 * lines - 1 else None


def _shapes(objects: list[Any], plain: Plain) -> tuple[list[Shape | None], list[str]]:
    shape_of, texts = plain.shape, list[str]()
    found: list[Shape | None] = []
    for each in objects:
        before = len(texts)
        try:
            shape = shape_of(each, texts)
        except (KeyError, TypeError):
            shape = None
        if shape is None:
            del texts[before:]
        found.append(shape)
    return found, texts


def _is_faithful(lines: bytes, strings: int, texts: str) -> bool:
    """Return whether objects show all that their lines say, and nothing in their texts has a finding.

    Of a repeated name an object holds the last: then the lines have more quotes than its strings need. Two for each
    string, and those inside; only a quote that is written as an escape has none.
    """
    inside = texts.count('"')
    if lines.count(b'"') != 2 * strings + inside or (inside and _ESCAPED_QUOTE.search(lines)):
        return False
    return not holds_special_token(texts)
