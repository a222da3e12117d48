"""JSON as RFC 8259 has it, and what lenient parsers let pass: repeated names, NaN, lone surrogates, endless nesting.

Everything found is named with its place, so that a whole form or a line of a dataset can be judged in one pass.
"""

import json
import re
from collections import Counter
from math import isnan
from typing import Any, Literal, NamedTuple

#: Deeper is refused. A fixed bound, so that the same bytes are judged alike whatever stack they are read on.
MAX_DEPTH = 128

#: Longer integers are refused: reading digits takes quadratic time.
MAX_INTEGER_DIGITS = 1000

Path = tuple[str | int, ...]

_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACE = re.compile(r"[ \t\n\r]*")
_NOT_A_NUMBER = float("nan")


class InvalidJson(ValueError):
    """Text that is not JSON. ``position`` is the 0-based character it stops making sense at."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class Oddity(NamedTuple):
    """Something RFC 8259 forbids, or leaves open, that the value itself does not show any more."""

    path: Path
    code: Literal["duplicate-key", "invalid-json"]
    message: str


class Document(NamedTuple):
    """A parsed value, where it ended (exclusive), and its oddities: every repeated name, the first of all others.

    Of a repeated name the value holds the last. A value with an ``invalid-json`` oddity must not be used.
    """

    value: Any
    end: int
    oddities: tuple[Oddity, ...]

    @property
    def invalid(self) -> Oddity | None:
        """Return what makes the value unusable, or None."""
        return next((oddity for oddity in self.oddities if oddity.code == "invalid-json"), None)


class _Repeating(dict[str, Any]):
    """An object in which names were repeated."""

    repeated: tuple[str, ...] = ()


class StrictParser:
    """Parses one value at a time. Keep one per thread: it is cheap to use and costs a little to make."""

    def __init__(self) -> None:
        self._suspicious = False
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._no_number,
            parse_int=self._integer,
            parse_float=self._float,
        )

    def parse(self, text: str) -> Document:
        """Return the one value a text holds. Raises InvalidJson, also for anything but white space after it."""
        document = self.parse_first(text)
        if document.end != len(text):
            raise InvalidJson("there is more after the value", document.end)
        return document

    def parse_first(self, text: str, start: int = 0) -> Document:
        """Return the value at a position, white space before and after it skipped. Raises InvalidJson."""
        self._suspicious = False
        begin = _skip_space(text, start)
        try:
            value, end = self._decoder.raw_decode(text, begin)
        except json.JSONDecodeError as error:
            raise _refusal(text, error) from None
        except RecursionError:
            raise InvalidJson(_too_deep(), begin) from None
        end = _skip_space(text, end)
        if self._suspicious or _may_hide_something(text, begin, end):
            return Document(value, end, tuple(_oddities(value)))
        return Document(value, end, ())

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        self._suspicious = True
        repeating = _Repeating(value)
        repeating.repeated = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        return repeating

    def _no_number(self, _literal: str) -> float:
        self._suspicious = True
        return _NOT_A_NUMBER

    def _integer(self, digits: str) -> int | float:
        if len(digits) <= MAX_INTEGER_DIGITS:
            return int(digits)
        return self._no_number(digits)

    def _float(self, digits: str) -> float:
        value = float(digits)
        # Too large for a double: what it means would depend on who reads it.
        return self._no_number(digits) if value in (float("inf"), float("-inf")) else value


def pointer(path: Path) -> str:
    """Return a path as an RFC 6901 JSON pointer; the empty path is the whole document."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in map(printable, path))


def printable(step: str | int) -> str:
    """Return text that can be written as UTF-8: lone surrogates become their escapes."""
    return str(step).encode("utf-8", "backslashreplace").decode("utf-8")


def _skip_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None
    return found.end()


def _refusal(text: str, error: json.JSONDecodeError) -> InvalidJson:
    """Return what Python's parser said, without its loose ends, and the same in every version of Python."""
    comma = error.pos
    if text[comma : comma + 1] in {"}", "]"}:
        # Before 3.13 the place is the bracket behind a comma that should not be there.
        comma -= 1
        while comma > 0 and text[comma] in " \t\n\r":
            comma -= 1
    if error.msg.startswith("Illegal trailing comma") or (comma != error.pos and text[comma : comma + 1] == ","):
        return InvalidJson("a comma before the end of a list or an object", comma)
    message = error.msg.removesuffix(" at").removesuffix(": ")
    return InvalidJson(message[:1].lower() + message[1:], error.pos)


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} levels"


def _may_hide_something(text: str, begin: int, end: int) -> bool:
    if text.count("[", begin, end) + text.count("{", begin, end) > MAX_DEPTH:
        return True
    return _MAYBE_SURROGATE.search(text, begin, end) is not None


def _oddities(value: Any) -> list[Oddity]:
    """Walk a value in document order, without recursion."""
    found: list[Oddity] = []
    broken: Oddity | None = None
    waiting: list[tuple[Path, Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, _Repeating):
            found += [
                Oddity((*path, name), "duplicate-key", f"{printable(name)!r} is there more than once")
                for name in item.repeated
            ]
        broken = broken or _broken(path, item)
        if isinstance(item, dict | list) and len(path) < MAX_DEPTH:
            children = item.items() if isinstance(item, dict) else enumerate(item)
            waiting += reversed([((*path, step), child) for step, child in children])
    return [*found, broken] if broken else found


def _broken(path: Path, item: Any) -> Oddity | None:
    message = None
    if isinstance(item, float) and isnan(item):
        message = "NaN, Infinity and numbers out of range are not JSON"
    elif isinstance(item, dict | list) and len(path) >= MAX_DEPTH:
        message = _too_deep()
    elif isinstance(item, str) and not _encodable(item):
        message = "a \\u escape is half of a surrogate pair"
    elif isinstance(item, dict) and not all(map(_encodable, item)):
        message = "a \\u escape in a name is half of a surrogate pair"
    return Oddity(path, "invalid-json", message) if message else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
