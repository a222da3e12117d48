"""Reading a stretch of a topic without a group: nothing is committed, and nobody's position moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from worker.could_not import CouldNot
from worker.kafka.broker import Brokers, connected

log = structlog.get_logger()

_POLL_MS = 500
_MAX_RECORDS = 500


class NoSuchTopic(CouldNot, LookupError):
    """The broker has no such topic."""


async def read_topic(
    brokers: Brokers, topic: str, since: datetime | None = None, until: datetime | None = None
) -> AsyncIterator[ConsumerRecord]:
    """Yield the records of a topic that were there when reading began, in order a partition.

    ``since`` (included) and ``until`` (excluded) are about the records' timestamps. Memory is bounded.

    Raises:
        BrokerUnavailable: no broker answers.
        NoSuchTopic: there is none.
    """
    async with connected(AIOKafkaConsumer, brokers, auto_offset_reset="earliest") as consumer:
        places = await _places(brokers, topic)
        consumer.assign(places)
        ends = {place: end for place, end in (await consumer.end_offsets(places)).items() if end > 0}
        await _seek(consumer, places, since)
        while unread := [place for place, end in ends.items() if await consumer.position(place) < end]:
            for place, records in (
                await consumer.getmany(*unread, timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            ).items():
                for record in records:
                    if record.offset < ends[place] and _within(record.timestamp, since, until):
                        yield record


@asynccontextmanager
async def following(brokers: Brokers, topic: str) -> AsyncIterator[AsyncIterator[ConsumerRecord]]:
    """Follow a topic from its end: yields the records, without end, that are written once the block has begun.

    Partitions that are added meanwhile are not followed. A broker that goes away is waited for.

    Raises:
        BrokerUnavailable: no broker answers at the beginning.
        NoSuchTopic: there is none.
    """
    async with connected(AIOKafkaConsumer, brokers) as consumer:
        places = await _places(brokers, topic)
        consumer.assign(places)
        for place, end in (await consumer.end_offsets(places)).items():
            consumer.seek(place, end)
        yield _from_now_on(consumer)


async def _from_now_on(consumer: AIOKafkaConsumer) -> AsyncIterator[ConsumerRecord]:
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)).values():
            for record in records:
                yield record


async def _places(brokers: Brokers, topic: str) -> list[TopicPartition]:
    async with connected(AIOKafkaAdminClient, brokers) as admin:
        if topic not in await admin.list_topics():
            raise NoSuchTopic(f"the broker has no topic {topic}")
        (found,) = await admin.describe_topics([topic])
    return [TopicPartition(topic, number) for number in sorted(place["partition"] for place in found["partitions"])]


async def _seek(consumer: AIOKafkaConsumer, places: list[TopicPartition], since: datetime | None) -> None:
    await consumer.seek_to_beginning(*places)
    if since is None:
        return
    try:
        found = await consumer.offsets_for_times({place: int(since.timestamp() * 1000) for place in places})
    except (KafkaError, ValueError) as error:
        # Not every broker looks up by time. Then all is read, and what is too old is left out.
        log.debug("topic.read_from_the_beginning", error=repr(error))
        return
    ends = await consumer.end_offsets(places)
    for place, first in found.items():
        consumer.seek(place, ends[place] if first is None else first.offset)


def _within(timestamp_ms: int, since: datetime | None, until: datetime | None) -> bool:
    written = datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC)
    return (since is None or written >= since) and (until is None or written < until)
