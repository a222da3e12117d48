"""Correcting a line where there is one way to: nothing is guessed, and what is not at fault stays to the byte."""

import json
from typing import NamedTuple

from contracts.strict_json import Document, InvalidJson, StrictParser
from worker.validate.fix_reasoning import split_reasoning
from worker.validate.places import Place, children

_BLANK = b" \t\r\n"

#: The ways people write a label that can mean one thing only.
_LABELS = {"0": "0", "1": "1", "true": "true", "false": "false"}


class Fixed(NamedTuple):
    """The lines to write instead of one, without their endings, and what was done, if anything."""

    lines: tuple[bytes, ...]
    done: tuple[str, ...] = ()


class _Edit(NamedTuple):
    place: Place
    text: str
    what: str


def fix_line(body: bytes, parser: StrictParser) -> Fixed:
    """Return what to write instead of a line. Never raises; a line it cannot mend comes back as it is.

    Blank lines go; several objects get a line each; a conversation with reasoning in several answers becomes several;
    ``function.arguments`` given as an object become a string that holds the same text; labels in quotes lose them;
    ``content`` that is null or missing beside tool calls becomes "".
    """
    if not body.strip(_BLANK):
        return Fixed((), ("removed a blank line",))
    try:
        text = body.decode()
        documents = _documents(text, parser)
    except (UnicodeDecodeError, InvalidJson):
        return Fixed((body,))
    done = [f"wrote {len(documents)} objects on a line each"] if len(documents) > 1 else []
    lines = []
    for start, document in documents:
        piece, edits = _mended(text, start, document)
        done += edits
        value = parser.parse_first(piece).value if edits else document.value
        samples = None if document.oddities else split_reasoning(value, piece)
        if samples is not None:
            done.append(f"wrote {len(samples)} samples, one for each answer with reasoning")
        lines += [each.encode() for each in samples or [piece]]
    return Fixed(tuple(lines), tuple(done)) if done else Fixed((body,))


def _documents(text: str, parser: StrictParser) -> list[tuple[int, Document]]:
    """Return the objects of a line, each with where it begins. Raises InvalidJson where there is anything else."""
    found: list[tuple[int, Document]] = []
    start = 0
    while start < len(text):
        document = parser.parse_first(text, start)
        if not isinstance(document.value, dict):
            raise InvalidJson("not an object", start)
        found.append((start, document))
        start = document.end
        if text[start : start + 1] == ",":
            # A comma with nothing behind it is not between two objects.
            start += 1
            parser.parse_first(text, start)
    return found


def _mended(text: str, start: int, document: Document) -> tuple[str, list[str]]:
    edits: list[_Edit] = []
    # Of a name given twice nobody knows which was meant, and inside a string nobody would see it any more.
    if not document.oddities:
        root = text.index("{", start)
        edits = [*_argument_edits(text, root), *_content_edits(text, root), *_label_edits(text, root)]
        edits.sort(key=lambda edit: edit.place.start)
    piece, at = "", start
    for edit in edits:
        piece += text[at : edit.place.start] + edit.text
        at = edit.place.end
    return (piece + text[at : document.end]).strip(), [edit.what for edit in edits]


def _argument_edits(text: str, root: int) -> list[_Edit]:
    edits = []
    for index, message in _entries(text, _member(text, root, "messages"), "["):
        for number, call in _entries(text, _member(text, message.start, "tool_calls"), "["):
            function = _member(text, call.start, "function")
            arguments = _member(text, function.start, "arguments") if function else None
            if arguments and text[arguments.start] == "{":
                inside = json.dumps(text[arguments.start : arguments.end], ensure_ascii=False)
                where = f"/messages/{index}/tool_calls/{number}/function/arguments"
                edits.append(_Edit(arguments, inside, f"wrote the object {where} as a string"))
    return edits


def _content_edits(text: str, root: int) -> list[_Edit]:
    edits = []
    for index, message in _entries(text, _member(text, root, "messages"), "["):
        if not _calls_alone(text, message.start):
            continue
        content, where = _member(text, message.start, "content"), f"/messages/{index}/content"
        if content is None:
            begin = Place(message.start, message.start + 1, message.start + 1)
            edits.append(_Edit(begin, '"content": "", ', f'added {where} as "", beside tool_calls'))
        elif text.startswith("null", content.start):
            edits.append(_Edit(content, '""', f'wrote {where} as "" instead of null, beside tool_calls'))
    return edits


def _calls_alone(text: str, start: int) -> bool:
    """Return whether a message is of the assistant, calls a tool and has no candidates."""
    role = _member(text, start, "role")
    calls = _entries(text, _member(text, start, "tool_calls"), "[")
    said = any(_member(text, start, name) for name in ("chosen", "rejected"))
    return bool(calls) and not said and role is not None and text[role.start : role.end] == '"assistant"'


def _label_edits(text: str, root: int) -> list[_Edit]:
    edits = []
    for index, doc in _entries(text, _member(text, root, "docs"), "["):
        label = _member(text, doc.start, "label")
        if label is None or text[label.start] != '"':
            continue
        given = json.loads(text[label.start : label.end])
        meant = _LABELS.get(given.strip().lower())
        if meant is not None:
            edits.append(_Edit(label, meant, f"wrote the label /docs/{index}/label as {meant}"))
    return edits


def _member(text: str, start: int, name: str) -> Place | None:
    if text[start] != "{":
        return None
    return next((place for each, place in children(text, start) if each == name), None)


def _entries(text: str, place: Place | None, opening: str) -> list[tuple[str | int, Place]]:
    return list(children(text, place.start)) if place and text[place.start] == opening else []
