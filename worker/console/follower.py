"""Following the topics from their beginning into the view: no group, nothing committed, read anew at every start."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.codec import Poison, decode
from worker.console.view import FOLLOWED, View
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.topics import TopicCreationError, ensure_topics

log = structlog.get_logger()

_POLL_MS = 500
_AGAIN_SECONDS = 2.0


async def follow(brokers: Brokers, view: View) -> None:
    """Take all events into the view until cancelled. A broker that does not answer is asked again without end.

    After a pause of the connection everything is read once more: the view knows what it has.
    """
    while True:
        try:
            await ensure_topics(brokers)
            async with connected(AIOKafkaConsumer, brokers, *FOLLOWED, auto_offset_reset="earliest") as consumer:
                await _read(consumer, view)
        except (BrokerUnavailable, KafkaError, TopicCreationError) as error:
            log.warning("console.not_following", error=str(error))
            view.caught_up = False
        await asyncio.sleep(_AGAIN_SECONDS)


async def _read(consumer: AIOKafkaConsumer, view: View) -> None:
    ends: dict[TopicPartition, int] = {}
    while True:
        if not ends:
            ends = await consumer.end_offsets(list(consumer.assignment()))
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                try:
                    view.take(decode(record.topic, record.key, record.value, record.headers, record.timestamp))
                except Poison:
                    continue  # the worker dead-letters it, and the operators' page shows it
        if not view.caught_up and ends:
            positions = [(await consumer.position(place), end) for place, end in ends.items()]
            view.caught_up = all(position >= end for position, end in positions)
