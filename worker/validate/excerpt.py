"""The place of a finding in its line, cut to fit a terminal: wide characters count two columns."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len

from contracts.datasets.findings import CODES
from contracts.strict_json import InvalidJson, StrictParser
from handlers.validation.lines import LineSplitter
from worker.validate.places import place_of

#: In longer lines nothing is looked for: their beginning has to do.
_MOST_CHARACTERS = 1 << 20

_CHUNK_BYTES = 1 << 20

#: How messages name a place that no pointer can lead to.
_AT_CHARACTER = re.compile(r" at character (\d+)$")
_AT_BYTE = re.compile(r"^byte (\d+) of the line")
_OBJECT = re.compile(r"^object (\d+) of the line: ")

#: Findings about a name rather than its value.
_ABOUT_NAMES = frozenset({"unknown-field", "duplicate-key"})


class Excerpt(NamedTuple):
    """A piece of a line, and the column its caret goes under."""

    text: str
    caret: int


def has_place(code: str) -> bool:
    """Return whether a finding of this code is about a place in a line, not about a file or a dataset."""
    return CODES[code].scope in {"line", "model"} and code not in {"blank-line", "line-too-long", "duplicate-sample"}


def lines_of(path: Path, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) of the lines with these numbers, in order; none that is too long. Raises OSError."""
    wanted = set(numbers)
    last, number, splitter = max(wanted, default=0), 0, LineSplitter()
    with path.open("rb") as file:
        while number < last:
            chunk = file.read(_CHUNK_BYTES)
            for line in splitter.feed(chunk) if chunk else splitter.finish():
                number = line.number
                if number in wanted and line.body is not None:
                    yield number, line.body
            if not chunk:
                return


def excerpt(body: bytes, code: str, pointer: str, message: str, width: int) -> Excerpt:
    """Return what of a line to show for a finding: at most ``width`` columns around its place."""
    text = body.decode(errors="replace")
    at = 0
    if found := _AT_BYTE.match(message):
        at = len(body[: int(found[1]) - 1].decode(errors="replace"))
    elif (found := _AT_CHARACTER.search(message)) and code == "invalid-json":
        at = int(found[1]) - 1
    elif len(text) <= _MOST_CHARACTERS:
        at = _position(text, code, pointer, message)
    return _window(text, min(at, len(text)), width)


def _position(text: str, code: str, pointer: str, message: str) -> int:
    found = _OBJECT.match(message)
    number = int(found[1]) if found else 2 if code == "several-objects-on-line" else 1
    try:
        place = place_of(text, pointer, _start_of(text, number))
    except (ValueError, RecursionError):
        return 0
    return place.name if code in _ABOUT_NAMES else place.start


def _start_of(text: str, number: int) -> int:
    """Return where the object with this number begins in a line of several. Raises InvalidJson."""
    parser, start = StrictParser(), 0
    for _ in range(number - 1):
        start = parser.parse_first(text, start).end
        if text[start : start + 1] == ",":
            start += 1
        if start >= len(text):
            raise InvalidJson("no more objects", start)
    return start


def _window(text: str, at: int, width: int) -> Excerpt:
    """Cut a third of the width before the place and the rest behind it; what is cut off shows as an ellipsis."""
    before = _fitting(reversed(text[max(0, at - width) : at]), width // 3)[::-1]
    cut = len(before) < at
    left = ("…" if cut else "") + before
    room = width - cell_len(left)
    after = _fitting(iter(text[at : at + width]), room)
    if at + len(after) < len(text):
        after = _fitting(iter(text[at : at + width]), room - 1) + "…"
    return Excerpt(left + after, cell_len(left))


def _fitting(characters: Iterator[str], columns: int) -> str:
    kept: list[str] = []
    for character in map(_visible, characters):
        columns -= cell_len(character)
        if columns < 0:
            break
        kept.append(character)
    return "".join(kept)


def safe(text: str) -> str:
    """Return text that cannot steer a terminal: data may hold control characters and marks that turn text around."""
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else "·"
