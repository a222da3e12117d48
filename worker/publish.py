"""Publishing events by hand, as a platform would. Checked first: one faulty event keeps the whole file back."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec.structs import replace

from contracts.codec import encode
from contracts.envelope import Event, inbound_id
from worker.event_check import NotPublishable, check_event, form_faults, ignored_fields, known_topic, split_events
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.topics import ensure_topics, missing_topics
from worker.settings import Settings

__all__ = [
    "BrokerUnavailable",
    "NotAcknowledged",
    "NotPublishable",
    "PublishedEvent",
    "check_event",
    "faults_in",
    "ignored_in",
    "publish_event",
    "publish_file",
]

SOURCE = "worker-publish"

#: Kafka takes 1 MiB a record by default, envelope included.
MAX_BYTES = 1_000_000

_Header = tuple[str, bytes]


class NotAcknowledged(BrokerUnavailable):
    """The broker was reached and did not say that it has the events."""

    def __init__(self, brokers: Brokers, error: Exception) -> None:
        reason = f"Kafka at {brokers.servers} did not acknowledge: {type(error).__name__} {error}".rstrip()
        ConnectionError.__init__(self, f"{reason}; publish again, a repeated event keeps its id")


class PublishedEvent(NamedTuple):
    """Where an event went. ``key`` is its business key, ``id`` its ``ce_id``."""

    topic: str
    partition: int
    offset: int
    id: str
    key: str


async def publish_event(
    settings: Settings,
    topic: str,
    body: bytes,
    *,
    event_id: str | None = None,
    source: str = SOURCE,
    headers: Sequence[tuple[str, str]] = (),
    force: bool = False,
) -> PublishedEvent:
    """Publish one event; the same as :func:`publish_file` with a file of one.

    Raises:
        NotPublishable: also where the body holds several events.
    """
    known_topic(topic)
    if (count := len(split_events(body))) != 1:
        raise NotPublishable(f"one event was expected, there are {count}")
    published = await publish_file(
        settings, topic, body, event_id=event_id, source=source, headers=headers, force=force
    )
    return published[0]


async def publish_file(
    settings: Settings,
    topic: str,
    content: bytes,
    *,
    event_id: str | None = None,
    source: str = SOURCE,
    headers: Sequence[tuple[str, str]] = (),
    force: bool = False,
) -> list[PublishedEvent]:
    """Check the events of a file (one JSON object, or several), then publish them in order; return where they went.

    The topic is created where it is missing. Without ``event_id`` the id follows from topic, key and body, so that
    publishing a file again repeats its events instead of making new ones.

    Raises:
        NotPublishable: nothing was published; the text names each event's faults.
        UnknownTopic: nothing was published either.
        BrokerUnavailable: no broker answers, or it did not acknowledge (NotAcknowledged): some events may be on it.
        TopicCreationError: the topic is missing and may not be created.
    """
    known_topic(topic)
    bodies = split_events(content)
    if event_id is not None and len(bodies) > 1:
        raise NotPublishable(
            f"an id names one event, and there are {len(bodies)}; leave it out, or publish them singly"
        )
    if reserved := [name for name, _ in headers if name.startswith("ce_")]:
        raise NotPublishable(f"header {reserved[0]}: headers that begin with ce_ are set here; leave it out")
    events = [_identified(event, event_id, source) for event in _checked(topic, bodies, force)]
    extra = [(name, value.encode()) for name, value in headers]
    return await _send(Brokers.of(settings), events, extra)


def ignored_in(topic: str, content: bytes) -> list[str]:
    """Return the fields of a file's events that nobody will read, each in words. Raises as :func:`publish_file`."""
    return _said_of_each(ignored_fields, topic, content)


def faults_in(topic: str, content: bytes) -> list[str]:
    """Return what the forms in a file will be refused for, each in words. Raises as :func:`publish_file`."""
    return _said_of_each(form_faults, topic, content)


def _said_of_each(say: Callable[[str, bytes], list[str]], topic: str, content: bytes) -> list[str]:
    known_topic(topic)
    bodies = split_events(content)
    return [
        (f"event {number}: " if len(bodies) > 1 else "") + each
        for number, body in enumerate(bodies, start=1)
        for each in say(topic, body)
    ]


def _checked(topic: str, bodies: list[bytes], force: bool) -> list[Event[Any]]:
    """Return all events, or raise with the faults of all of them."""
    events, faults = [], []
    for number, body in enumerate(bodies, start=1):
        try:
            if len(body) > MAX_BYTES:
                raise NotPublishable(f"is {len(body):,} bytes; at most {MAX_BYTES:,} fit into a record")
            events.append(check_event(topic, body, force=force))
        except NotPublishable as error:
            where = f"event {number}: " if len(bodies) > 1 else ""
            faults += [where + line for line in str(error).splitlines()]
    if faults:
        raise NotPublishable("\n".join(faults))
    return events


def _identified(event: Event[Any], event_id: str | None, source: str) -> Event[Any]:
    derived = inbound_id(event.topic, event.key.encode(), event.body)
    return replace(event, id=event_id or derived, source=source, time=datetime.now(UTC), subject=event.key)


async def _send(brokers: Brokers, events: list[Event[Any]], extra: list[_Header]) -> list[PublishedEvent]:
    topic = known_topic(events[0].topic)
    # Who may write to a topic may not see its dead letters, which then look missing too.
    if topic.name in await missing_topics(brokers, [topic]):
        await ensure_topics(brokers, [topic])
    # The default partitioner is Java's murmur2, which every publisher of a key must share. Not an idempotent producer:
    # the embedded broker knows none, and a repeated event has the same id anyway.
    async with connected(AIOKafkaProducer, brokers, acks="all", enable_idempotence=False) as producer:
        try:
            sent = []
            for event in events:
                key, _, headers = encode(event)
                # The bytes as they were written: of a form, only the part that makes it answerable is decoded.
                sent.append(await producer.send(event.topic, event.body, key=key, headers=[*headers, *extra]))
            records = await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            raise NotAcknowledged(brokers, error) from error
    return [
        PublishedEvent(record.topic, record.partition, record.offset, event.id, event.key)
        for event, record in zip(events, records, strict=True)
    ]
