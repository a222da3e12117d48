"""Recognising lines without any fault many at a time, so that only the others are judged by the rules one by one.

A block of lines is parsed as one array by a parser in C, and each object looked at once. Whatever is in any way unusual
is left to the rules: a line that is found plain here has no finding there (a law in the tests).
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import orjson

from handlers.validation.lines import Block
from handlers.validation.statistics import Counted

#: All that is counted of a sample. The first entry is the number of strings in it, names and values.
Shape = tuple[int, ...]

_QUOTE, _BACKSLASH, _U = b'"\\u'
_ESCAPED_QUOTE = re.compile(rb"\\u0022")


class Seen(NamedTuple):
    """What plain samples hold together: how many strings, their shapes, and every text in which a quote may be."""

    strings: int
    shapes: Mapping[Shape, int]
    texts: Sequence[str]


class Plain(NamedTuple):
    """How the plain samples of a format are recognised.

    ``shape(object, texts)`` returns the shape of a plain sample, and appends all of it that may hold a quote as one
    text. For any other it appends nothing, and returns None or raises KeyError or TypeError. ``counted(shape)`` is what
    is counted of it. ``together(objects)`` is the quicker way where all of many are plain; None, KeyError or TypeError
    say nothing. Neither has to look for names that do not belong: each would be two quotes too many. But then the lines
    beside it are counted one by one, so ``shape`` looks where it costs little.
    """

    shape: Callable[[Any, list[str]], Shape | None]
    counted: Callable[[Shape], Mapping[Counted, int]]
    together: Callable[[Sequence[Any]], Seen | None] = lambda _: None


def plain_lines(block: Block, plain: Plain, shapes: Counter[Shape]) -> list[bool]:
    """Return for each line of a block whether it is plain; ``shapes`` gets the shapes of those that are."""
    objects = _parsed(block.body)
    if objects is None:
        objects = [_parsed_alone(line) for line in block.lines]
    elif _are_plain(block.body, objects, plain, shapes):
        return [True] * len(objects)
    return _plain_ones(block.lines, objects, plain, shapes)


def _are_plain(body: bytes, objects: list[Any], plain: Plain, shapes: Counter[Shape]) -> bool:
    """Return whether all lines of a block can be seen to be plain together."""
    try:
        seen = plain.together(objects)
    except (KeyError, TypeError):
        return False
    if seen is None or not _is_faithful(body, seen.strings, seen.texts):
        return False
    shapes.update(seen.shapes)
    return True


def _plain_ones(lines: list[bytes], objects: list[Any], plain: Plain, shapes: Counter[Shape]) -> list[bool]:
    found, texts = _shapes(objects, plain)
    if not _is_faithful(b"\n".join(compress(lines, found)), sum([shape[0] for shape in found if shape]), texts):
        of_plain = iter(texts)
        for index, shape in enumerate(found):
            if shape and not _is_faithful(lines[index], shape[0], [next(of_plain)]):
                found[index] = None
    shapes.update(filter(None, found))
    return [shape is not None for shape in found]


def _parsed(body: bytes) -> list[Any] | None:
    """Return the value of each line, or None where some line is not one JSON value.

    They are read as one array: each LF becomes the element 0 of it. A CR stands for it, which a string cannot hold
    either, so that no string spans two lines; a value that spans two has a 0 inside, or is no JSON; and what else is
    on a line is one element too many.
    """
    joined = body.replace(b"\n", b"\r,0,")
    lines = (len(joined) - len(body)) // 3 + 1
    try:
        values: list[Any] = orjson.loads(b"".join((b"[", joined, b"]")))
    except orjson.JSONDecodeError:
        return None
    return values[::2] if len(values) == 2 * lines - 1 else None


def _parsed_alone(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _shapes(objects: list[Any], plain: Plain) -> tuple[list[Shape | None], list[str]]:
    shape_of, texts = plain.shape, list[str]()
    found: list[Shape | None] = []
    for each in objects:
        try:
            found.append(shape_of(each, texts))
        except (KeyError, TypeError):
            found.append(None)
    return found, texts


def _is_faithful(lines: bytes, strings: int, texts: Sequence[str]) -> bool:
    """Return whether objects with so many strings and these texts show all that their lines say.

    Of a repeated name an object holds the last: then the lines have more quotes than its strings need. Two for each
    string, and those inside; only a quote that is written as an escape has none.
    """
    import numpy as np  # noqa: PLC0415 - it takes a while to load, and what imports this may have nothing to scan

    codes = np.frombuffer(lines, np.uint8)
    quote, backslash = codes == _QUOTE, codes == _BACKSLASH
    escaped = backslash[:-1]
    if (escaped & (backslash | (codes == _U))[1:]).any():
        # What stands before a quote, or for one, takes a closer look.
        inside = sum([text.count('"') for text in texts if '"' in text])
        if inside and _ESCAPED_QUOTE.search(lines):
            return False
    else:
        inside = int(np.count_nonzero(escaped & quote[1:]))
    return bool(np.count_nonzero(quote) == 2 * strings + inside)
