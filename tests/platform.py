"""A platform for tests: publishes what a platform publishes, and watches what is said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from contracts.codec import decode, encode_body
from contracts.envelope import Event
from contracts.topics import DEAD_LETTER_SUFFIX, TOPICS
from tests.wait import wait_until
from worker.delivery.publishing import Publisher
from worker.kafka.broker import Brokers, connected


class Platform:
    """Everything a platform sees: all events in the order they arrived, and all dead letters."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self.publisher = Publisher(Brokers(servers))
        self.events: list[Event[Any]] = []
        self.letters: list[ConsumerRecord[bytes, bytes]] = []
        self._consumer: AIOKafkaConsumer | None = None

    async def publish(
        self, topic: str, key: str, data: Any, *, event_id: str | None = None, traceparent: str | None = None
    ) -> None:
        """Publish an event under an id of its own, or a stated one."""
        event = Event(
            topic=topic,
            key=key,
            id=event_id or uuid4().hex,
            type=topic,
            source="tests",
            time=datetime.now(UTC),
            data=data,
            traceparent=traceparent,
        )
        await self.publisher.publish([event])

    async def send(
        self, topic: str, key: bytes | None, body: bytes | None, headers: Iterable[tuple[str, bytes | None]] = ()
    ) -> None:
        """Send a raw record, as a broken publisher might."""
        await self.publisher.send([(topic, key, body, list(headers))])

    def said(self, topic: str, key: str | None = None) -> list[Event[Any]]:
        """Return the events of a topic (and key), repeats included."""
        return [event for event in self.events if event.topic == topic and key in (None, event.key)]

    def ids(self, topic: str, key: str | None = None) -> set[str]:
        """Return the distinct event ids of a topic (and key)."""
        return {event.id for event in self.said(topic, key)}

    def phases(self, task_id: str) -> list[str]:
        """Return a task's phases by revision, each once in a row."""
        statuses = {event.data.revision: event.data.phase.value for event in self.said("task.status", task_id)}
        phases = [statuses[revision] for revision in sorted(statuses)]
        return [phase for n, phase in enumerate(phases) if n == 0 or phases[n - 1] != phase]

    async def wait_for(self, topic: str, key: str | None = None, count: int = 1, seconds: float = 60) -> Event[Any]:
        """Wait for that many events of a topic (and key), and return the last."""
        await wait_until(lambda: len(self.said(topic, key)) >= count, seconds, f"{count} {topic} for {key}")
        return self.said(topic, key)[-1]

    async def wait_for_phase(self, task_id: str, phase: str, seconds: float = 60) -> Any:
        """Wait until a task is in a phase, and return its status."""
        await wait_until(lambda: phase in self.phases(task_id), seconds, f"{task_id} in {phase}")
        return next(event.data for event in self.said("task.status", task_id) if event.data.phase.value == phase)

    async def caught_up(self) -> bool:
        """Return whether everything that is on the broker now was seen."""
        assert self._consumer is not None
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        return all([await self._consumer.position(place) >= end for place, end in ends.items()])

    async def watch(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        async for record in consumer:
            if record.topic.endswith(DEAD_LETTER_SUFFIX):
                self.letters.append(record)
            elif record.value is not None:
                with contextlib.suppress(Exception):  # planted poison is not for us
                    self.events.append(decode(record.topic, record.key, record.value, record.headers, record.timestamp))


@asynccontextmanager
async def platform(servers: str) -> AsyncIterator[Platform]:
    """Connect a platform; it watches from the beginning of every topic."""
    names = [*TOPICS, *(topic.dead_letter for topic in TOPICS.values())]
    found = Platform(servers)
    await found.publisher.start()
    try:
        async with connected(AIOKafkaConsumer, Brokers(servers), *names, auto_offset_reset="earliest") as consumer:
            watcher = asyncio.create_task(found.watch(consumer))
            try:
                yield found
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
    finally:
        await found.publisher.stop()


def form(task_id: str, *dataset_ids: str, **changes: Any) -> dict[str, Any]:
    """Return a form without faults, with changes."""
    good = {
        "task_id": task_id,
        "name": "poems",
        "training_type": "FinetuneLoRA",
        "base_model": {"foundation": {"name": "tiny", "version": "1"}},
        "training_set": [{"dataset_id": dataset_id} for dataset_id in dataset_ids],
    }
    return good | changes


def sample(question: str = "hello?", answer: str = "hello.") -> bytes:
    """Return one sft sample as a line."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return encode_body({"messages": messages}) + b"\n"


def as_json(body: bytes | None) -> Any:
    """Return a record's body, decoded."""
    return msgspec.json.decode(body or b"null")
