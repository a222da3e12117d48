"""Events before they are published: what the platform would have dead-lettered or refused is said here, at once."""

import json
import re
from difflib import get_close_matches
from typing import Any

from contracts.codec import Poison, decode
from contracts.envelope import Event
from contracts.form import read_form
from contracts.schema.derive import topic_schema
from contracts.strict_json import InvalidJson, StrictParser
from contracts.task import TaskForm
from contracts.topics import TOPICS, Topic

#: How msgspec names the place of a fault.
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.+)`")


class NotPublishable(ValueError):
    """An event its readers would refuse. The text names the field and the remedy, one fault a line."""


def known_topic(name: str) -> Topic:
    """Return a topic by its name. Raises NotPublishable naming the nearest one, or all."""
    if name in TOPICS:
        return TOPICS[name]
    close = get_close_matches(name.casefold(), TOPICS, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(TOPICS)}"
    raise NotPublishable(f"no topic {name!r}; {remedy}")


def split_events(content: bytes) -> list[bytes]:
    """Return the events in a file: one JSON object, or several one after another (NDJSON). Never an empty list.

    Raises:
        NotPublishable: not UTF-8, not JSON, not objects, or nothing at all; the text names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotPublishable(f"line {line}: not UTF-8; save the file as UTF-8") from error
    parser, events, position = StrictParser(), [], len(text) - len(text.lstrip())
    while position < len(text):
        try:
            document = parser.parse_first(text, position)
        except InvalidJson as error:
            line = text.count("\n", 0, error.position) + 1
            raise NotPublishable(f"line {line}: not JSON: {error}; a file holds JSON objects, one an event") from error
        if not isinstance(document.value, dict):
            line = text.count("\n", 0, position) + 1
            raise NotPublishable(
                f"line {line}: an event is a JSON object; write several events one a line, not as a list"
            )
        events.append(text[position : document.end].strip().encode())
        position = document.end
    if not events:
        raise NotPublishable("there is no event: the file is empty")
    return events


def check_event(topic: str, body: bytes, *, force: bool = False) -> Event[Any]:
    """Return the event a body makes on a topic, as its readers will decode it. Pure.

    A form is read for all its faults; ``force`` lets one with faults pass, to see it refused. What the model catalogue
    says about a form is left to the worker.

    Raises:
        NotPublishable: the topic is unknown, or the body breaks its contract.
    """
    table = known_topic(topic)
    if table.contract is TaskForm and not force and (faults := read_form(body).faults):
        raise NotPublishable("\n".join(f"{fault.field or 'the form'}: {fault.message}" for fault in faults))
    try:
        return decode(topic, None, body, [])
    except Poison as error:
        raise NotPublishable(_in_words(error, table)) from error


def _in_words(error: Poison, topic: Topic) -> str:
    match = _PLACE.fullmatch(str(error))
    if error.reason != "breaks-contract" or match is None:
        return f"{topic.name}: {error}"
    path, what = match["path"] or "", match["what"]
    if missing := _MISSING.fullmatch(what):
        return f"{f'{path}.{missing[1]}' if path else missing[1]}: is required; add it"
    return f"{path or 'the event'}: {_expected(topic_schema(topic), path) or what[:1].lower() + what[1:]}"


def _expected(document: dict[str, Any], path: str) -> str:
    """Return what the schema says a value at a path must be, as far as it says more than its type."""
    schema: dict[str, Any] = document
    for step in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        schema = _inside(schema, step, document)
    for option in _options(schema, document):
        if "enum" in option:
            return f"must be one of {', '.join(map(json.dumps, option['enum']))}"
        if "description" in option and ("pattern" in option or "format" in option):
            return f"must be {option['description']}"
    return ""


def _inside(schema: dict[str, Any], step: str, document: dict[str, Any]) -> dict[str, Any]:
    for option in _options(schema, document):
        inner = option.get("items") if step.startswith("[") else option.get("properties", {}).get(step)
        if inner is not None:
            return dict(inner)
    return {}


def _options(schema: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _followed(schema, document)
    return [_followed(option, document) for option in schema.get("anyOf", [schema])]


def _followed(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["$defs"][schema["$ref"].rpartition("/")[2]]
    return found
