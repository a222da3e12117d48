"""One line to objects: everything that can be wrong before any format's rules apply."""

from typing import Any, NamedTuple

from contracts.strict_json import Document, InvalidJson, StrictParser
from handlers.validation.encodings import encoding_hint, is_utf16
from handlers.validation.json_hints import json_hint
from handlers.validation.one_value import ARRAY_TO_LINES
from handlers.validation.problems import Problem, name_of_type

#: Objects of one line that are looked at.
_MOST_OBJECTS = 100

_ODDITIES = {
    "duplicate-key": "give each name once: of several values only the last would count",
    "invalid-json": "write what every JSON parser reads alike",
}


class Reading(NamedTuple):
    """The objects of a line that can be judged, and what is wrong with the line besides."""

    objects: tuple[dict[str, Any], ...]
    problems: tuple[Problem, ...]


def read_line(body: bytes, parser: StrictParser) -> Reading:
    """Read one line that is not blank. Never raises. A line has one object; of several, each is returned."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return _refused("invalid-utf8", f"byte {error.start + 1} of the line is not UTF-8", encoding_hint(body))
    try:
        first = parser.parse_first(text)
        if first.end == len(text):
            return _one(first)
        return _several(first, text, parser)
    except InvalidJson as error:
        hint = encoding_hint(body) if is_utf16(body) else json_hint(text, str(error), error.position)
        return _refused("invalid-json", f"{error} at character {error.position + 1}", hint)


def _one(document: Document) -> Reading:
    problems = tuple(
        Problem(oddity.path, oddity.code, oddity.message, _ODDITIES[oddity.code]) for oddity in document.oddities
    )
    if document.invalid:
        return Reading((), problems)
    if not isinstance(document.value, dict):
        is_list = isinstance(document.value, list)
        hint = "write one object a line" + f", without brackets around them, as {ARRAY_TO_LINES} does" * is_list
        message = f"the line is {name_of_type(document.value)}, not an object"
        return Reading((), (*problems, Problem((), "not-an-object", message, hint)))
    return Reading((document.value,), problems)


def _several(first: Document, text: str, parser: StrictParser) -> Reading:
    documents, position = [first], first.end
    while position < len(text) and len(documents) <= _MOST_OBJECTS:
        # A comma between them: someone took the brackets off an array.
        start = position + 1 if text[position] == "," else position
        try:
            documents.append(parser.parse_first(text, start))
        except InvalidJson:
            raise InvalidJson("there is more after the value", position) from None
        position = documents[-1].end
    readings = [_one(document) for document in documents]
    if not all(isinstance(document.value, dict) for document in documents):
        raise InvalidJson("there is more after the value", first.end)
    count = len(documents) if len(documents) <= _MOST_OBJECTS else f"more than {_MOST_OBJECTS}"
    problem = Problem((), "several-objects-on-line", f"{count} objects on one line", "write one object a line")
    return Reading(
        tuple(each for reading in readings for each in reading.objects),
        (problem, *(each for reading in readings for each in reading.problems)),
    )


def _refused(code: str, message: str, hint: str) -> Reading:
    return Reading((), (Problem((), code, message, hint),))
