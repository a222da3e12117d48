"""Events before they are published: what the platform would have dead-lettered or refused is said here, at once."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from contracts.codec import Poison, decode
from contracts.dataset import DatasetImported
from contracts.envelope import Event
from contracts.form import read_form
from contracts.strict_json import InvalidJson, StrictParser
from contracts.task import Fault, TaskForm
from contracts.topics import TOPICS, Topic
from contracts.unknown_fields import unknown_fields
from worker.could_not import CouldNot, NotRight


class NotPublishable(NotRight, ValueError):
    """An event its readers would refuse. The text names the field and the remedy, one fault a line."""


class UnknownTopic(CouldNot, ValueError):
    """There is no such topic. The text names the nearest one, or all."""


def known_topic(name: str) -> Topic:
    """Return a topic by its name. Raises UnknownTopic."""
    if name in TOPICS:
        return TOPICS[name]
    close = get_close_matches(name.casefold(), TOPICS, n=1)
    remedy = f"did you mean {close[0]}?" if close else f"there are {', '.join(TOPICS)}"
    raise UnknownTopic(f"no topic {name!r}; {remedy}")


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
        NotPublishable: the body breaks its contract.
        UnknownTopic: there is none of this name.
    """
    faults = form_faults(topic, body)
    if faults and not force:
        raise NotPublishable("\n".join(faults))
    try:
        return decode(topic, None, body, [])
    except Poison as error:
        # Of a form that not even force lets pass, the others are said too: they are all to be mended.
        said = faults or _lines(error.faults, "the event") or [f"{topic}: {error}"]
        raise NotPublishable("\n".join(said)) from error


def form_faults(topic: str, body: bytes) -> list[str]:
    """Return what a form will be refused for, each fault in words; nothing for events of other kinds. Pure.

    Raises UnknownTopic.
    """
    return _lines(read_form(body).faults, "the form") if known_topic(topic).contract is TaskForm else []


def ignored_fields(topic: str, body: bytes) -> list[str]:
    """Return what a body says that nobody will read, mostly misspelt fields, each in words. Refuses nothing. Pure.

    Raises UnknownTopic.
    """
    contract = known_topic(topic).contract
    try:
        said = StrictParser().parse(body.decode()).value
    except (UnicodeDecodeError, InvalidJson):
        return []
    found = list(unknown_fields(said, contract))
    # To the contract a draft is any object: a form that is not filled in yet.
    if contract is DatasetImported and isinstance(said, dict):
        found += unknown_fields(said.get("draft"), TaskForm, "draft")
    return [f"{each.field}: {each.message}" for each in found]


def _lines(faults: Iterable[Fault], whole: str) -> list[str]:
    return [f"{fault.field or whole}: {fault.message}" for fault in faults]
