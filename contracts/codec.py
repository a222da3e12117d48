"""Bytes to events and back. One place decides what is poison."""

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import DecodeError, ValidationError

from contracts.envelope import Event, Headers, inbound_id
from contracts.every_fault import faults_in
from contracts.hyperparameters import MAX_FAULTS
from contracts.task import Fault
from contracts.topics import TOPICS

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
#: Years of a time that can be moved to another zone, and by any delay of ours, without leaving the calendar.
_YEARS = range(1900, 9000)
_END_MS = datetime(_YEARS.stop, 1, 1, tzinfo=UTC).timestamp() * 1000
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(topic.received_as) for name, topic in TOPICS.items()
}
_ENCODER = msgspec.json.Encoder(order="deterministic")


PoisonReason = Literal[
    "invalid-json", "invalid-utf8", "breaks-contract", "empty-body", "bad-header", "bad-key", "bad-timestamp",
    "unknown-type", "unknown-envelope", "invalid-batch", "foreign-event", "decoder-failed", "not-placed",
]  # fmt: skip


class Poison(Exception):
    """An event that can never be processed as it is. ``reason`` is a kebab-case class, the text says why.

    ``faults`` are those of its fields, as far as it could be read; the text names them, too.
    """

    def __init__(self, reason: PoisonReason, text: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(text)
        self.reason: PoisonReason = reason
        self.faults = faults


def decode(topic: str, key: bytes | None, body: bytes | None, headers: Headers, timestamp_ms: int = 0) -> Event[Any]:
    """Decode one record of a topic.

    Unknown fields are ignored.
    A missing ``ce_id`` is derived from topic, key and body; a missing ``ce_time`` is the record's timestamp.

    Raises:
        Poison: the body, the key or the envelope breaks its contract, or a header is null or not UTF-8.
    """
    attributes = _attributes(headers)
    declared = attributes.get("ce_type", topic)
    if declared != topic:
        raise Poison("unknown-type", f"ce_type is {declared!r}, but {topic} carries only {topic!r}")
    if (version := attributes.get("ce_specversion", SPEC_VERSION)) != SPEC_VERSION:
        raise Poison("unknown-envelope", f"ce_specversion is {version!r}; only {SPEC_VERSION!r} is known")
    if body is None:
        raise Poison("empty-body", "the record has no body")
    data = _data(topic, body)
    business_key = getattr(data, TOPICS[topic].key_field) or _text(key or b"", "key")
    return Event(
        topic=topic,
        key=business_key,
        id=attributes.get("ce_id") or inbound_id(topic, key, body),
        type=declared,
        source=attributes.get("ce_source", "unknown"),
        time=_time(attributes.get("ce_time"), timestamp_ms),
        data=data,
        body=body,
        subject=attributes.get("ce_subject"),
        correlation_id=attributes.get("ce_correlationid") or business_key,
        causation_id=attributes.get("ce_causationid"),
        traceparent=attributes.get("traceparent"),
    )


def encode(event: Event[Any]) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """Return (key, body, headers) of an event, in CloudEvents' Kafka binary mode. Deterministic."""
    attributes = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": event.id,
        "ce_type": event.type,
        "ce_source": event.source,
        "ce_time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "ce_subject": event.subject,
        "ce_correlationid": event.correlation_id,
        "ce_causationid": event.causation_id,
        "traceparent": event.traceparent,
        "content-type": CONTENT_TYPE,
    }
    headers = [(name, value.encode()) for name, value in attributes.items() if value is not None]
    return event.key.encode(), encode_body(event.data), headers


def encode_body(data: Any) -> bytes:
    """Return the JSON of a body; the same data gives the same bytes."""
    return _ENCODER.encode(data)


def _attributes(headers: Headers) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, value in headers:
        # The types of Kafka clients say bytes; a null still arrives from publishers that send one.
        if value is None:
            raise Poison("bad-header", f"header {name!r} is null")
        try:
            attributes[name] = value.decode()
        except UnicodeDecodeError as error:
            raise Poison("bad-header", f"header {name!r} is not UTF-8") from error
    return attributes


def _data(topic: str, body: bytes) -> Any:
    try:
        # msgspec does not check the UTF-8 of fields it skips, and a contract's unknown fields are skipped.
        body.decode()
        data = _DECODERS[topic].decode(body)
    except UnicodeDecodeError as error:
        raise Poison("invalid-utf8", f"the body is not UTF-8: byte {error.start}") from error
    except ValidationError as error:
        raise _breaks_contract(str(error), _faults_of(topic, body)) from error
    except (DecodeError, RecursionError) as error:
        raise Poison("invalid-json", str(error)) from error
    imported_at = getattr(data, "imported_at", None)
    if imported_at is not None and imported_at.year not in _YEARS:
        message = f"must be of the years {_YEARS.start} to {_YEARS.stop - 1}, but is {imported_at}"
        raise _breaks_contract("", (Fault("imported_at", "out-of-range", message),))
    return data


def _faults_of(topic: str, body: bytes) -> tuple[Fault, ...]:
    """Return every fault of a body that its decoder refused at the first; none where the rest cannot be read."""
    try:
        return tuple(faults_in(msgspec.json.decode(body), TOPICS[topic].received_as, "")[:MAX_FAULTS])
    except (DecodeError, RecursionError):
        return ()


def _breaks_contract(text: str, faults: tuple[Fault, ...]) -> Poison:
    said = "; ".join(f"{fault.field or 'the event'}: {fault.message}" for fault in faults)
    return Poison("breaks-contract", said or text, faults)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Poison("bad-key", f"the {what} is not UTF-8") from error


def _time(stated: str | None, timestamp_ms: int) -> datetime:
    if stated is None:
        return _from_timestamp(timestamp_ms)
    try:
        time = msgspec.convert(stated, datetime)
    except ValidationError as error:
        raise Poison("bad-header", f"ce_time is not an RFC 3339 time: {stated!r}") from error
    if time.tzinfo is None:
        raise Poison("bad-header", f"ce_time has no time zone: {stated!r}")
    if time.year not in _YEARS:
        raise Poison("bad-header", f"ce_time is out of range: {stated!r}")
    return time


def _from_timestamp(timestamp_ms: int) -> datetime:
    """Return a record's timestamp, which its publisher may set to anything. Kafka's -1 means that there is none."""
    if timestamp_ms >= _END_MS:
        raise Poison("bad-timestamp", f"the record's timestamp is out of range: {timestamp_ms} ms")
    return datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC)
