"""Events in one object of the bucket: a batch of CloudEvents in JSON, for those who have no broker at hand.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from contracts.codec import CONTENT_TYPE, SPEC_VERSION, Poison, decode, encode
from contracts.envelope import Event
from contracts.topics import TOPICS

#: Topic, key, body, headers.
Record = tuple[str, bytes, bytes, list[tuple[str, bytes]]]


class _Written(Struct, kw_only=True, omit_defaults=True):
    """One event, all of its envelope and its body as it is."""

    id: str
    type: str
    source: str
    time: str
    data: Raw
    specversion: str = ""
    datacontenttype: str = ""
    subject: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None


def written(events: Sequence[Event[Any]]) -> bytes:
    """Return events as the bytes of one object."""
    return msgspec.json.encode([_written(event) for event in events])


def read(body: bytes) -> list[Event[Any]]:
    """Return the events of an object, in order; each has its body as it was written.

    Raises:
        Poison: it is not such a batch, or one of its events breaks its contract. None of them is returned then.
    """
    try:
        batch = msgspec.json.decode(body, type=list[_Written])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Poison("invalid-batch", str(error)) from error
    return [_read(event) for event in batch]


def record(event: Event[Any]) -> Record:
    """Return a read event as the record that its publisher would have sent: same id, same bytes."""
    key, body, headers = encode(event)
    return event.topic, key, event.body or body, headers


def _written(event: Event[Any]) -> _Written:
    _, _, body, headers = record(event)
    attributes = {name.removeprefix("ce_"): value.decode() for name, value in headers}
    del attributes["content-type"]
    return _Written(**attributes, data=Raw(body), datacontenttype=CONTENT_TYPE)


def _read(event: _Written) -> Event[Any]:
    if event.type not in TOPICS:
        raise Poison("unknown-type", f"no topic carries {event.type!r}")
    attributes = {
        "ce_specversion": event.specversion or SPEC_VERSION,
        "ce_id": event.id,
        "ce_type": event.type,
        "ce_source": event.source,
        "ce_time": event.time,
        "ce_subject": event.subject,
        "ce_correlationid": event.correlationid,
        "ce_causationid": event.causationid,
        "traceparent": event.traceparent,
    }
    headers = [(name, value.encode()) for name, value in attributes.items() if value is not None]
    return decode(event.type, (event.subject or "").encode(), bytes(event.data), headers)
