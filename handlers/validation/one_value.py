"""One JSON value over many lines, pretty-printed or a whole list: named once, instead of a fault a line."""

import re
from collections.abc import Sequence

from contracts.strict_json import InvalidJson, StrictParser
from handlers.validation.problems import Problem

#: So many lines tell a value that goes on from a sample that was broken in two.
LINES_TO_TELL = 4

#: What writes the entries of a JSON list on a line each, and objects over several lines on one.
ARRAY_TO_LINES = "jq -c '.[]' FILE > NEW.jsonl"
_OBJECTS_TO_LINES = "jq -c . FILE > NEW.jsonl"

_WHITE_SPACE = " \t\r\n"

#: An object around a list of objects; those of our own and of known formats are fields of a sample.
_WRAPPED = re.compile(r'\s*\{\s*"(?!(?:messages|tools|docs|conversations)")([A-Za-z_]\w*)"\s*:\s*\[\s*\{')


def may_begin(body: bytes) -> bool:
    """Return whether a line that is no object may be the beginning of a value over several lines."""
    return body.lstrip()[:1] in {b"{", b"["}


def one_value(bodies: Sequence[bytes], are_objects: Sequence[bool]) -> Problem | None:
    """Return the problem of a file whose first value goes on over several lines, or None where it does not.

    ``bodies`` are the first lines, ``are_objects`` whether each is an object by itself. Never raises. A value that is
    broken in two is not one, where objects follow it.
    """
    try:
        text = b"\n".join(bodies).decode()
    except UnicodeDecodeError:
        return None
    try:
        lines = text[: StrictParser().parse_first(text).end].rstrip(_WHITE_SPACE).count("\n") + 1
        goes_on = lines > 1 and not any(are_objects[lines:])
    except InvalidJson as error:
        # It ends nowhere yet; a string cannot go on over a line's end.
        goes_on = error.position >= len(text.rstrip(_WHITE_SPACE)) and len(bodies) >= LINES_TO_TELL
    return _problem(text) if goes_on else None


def _problem(text: str) -> Problem:
    if text.lstrip(_WHITE_SPACE).startswith("["):
        what, command = "list", ARRAY_TO_LINES
    else:
        wrapped = _WRAPPED.match(text)
        what, command = "object", f"jq -c '.{wrapped[1]}[]' FILE > NEW.jsonl" if wrapped else _OBJECTS_TO_LINES
    message = f"the file begins with one JSON {what} over several lines, but every line must be an object of its own"
    return Problem((), "wrong-format", message, f"write one object a line, as {command} does")
