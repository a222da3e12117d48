"""Records as Kafka hands them over, and a publisher that sends nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.codec import encode_body
from contracts.envelope import Event, Headers
from worker.delivery.item import Item, take_in
from worker.delivery.offsets import PartitionProgress
from worker.delivery.publishing import Message, Publisher
from worker.kafka.broker import Brokers


@dataclass
class FakeRecord:
    """A Kafka record; aiokafka's has these fields and more."""

    topic: str = "task.command"
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = field(default_factory=list)
    timestamp: int = 1_767_225_600_000


def command_record(offset: int, key: str = "task-1", *, partition: int = 0) -> FakeRecord:
    """Return a record that decodes: a user's stop."""
    body = {"command_id": f"command-{offset}", "task_id": key, "command": "stop"}
    return FakeRecord(partition=partition, offset=offset, key=key.encode(), value=encode_body(body))


def progress_record(seq: int, key: str = "task-1", *, offset: int | None = None) -> FakeRecord:
    """Return a record of a topic whose stage folds. Its offset is its seq, where not said."""
    body = {"task_id": key, "attempt": 1, "seq": seq, "state": "running"}
    offset = seq if offset is None else offset
    return FakeRecord(topic="training.progress", offset=offset, key=key.encode(), value=encode_body(body))


def poison_record(offset: int, *, topic: str = "task.command", key: bytes | None = b"task-1") -> FakeRecord:
    """Return a record that never decodes."""
    return FakeRecord(topic=topic, offset=offset, key=key, value=b"not JSON")


def items_of(records: Sequence[FakeRecord], progress: PartitionProgress | None = None) -> list[Item]:
    """Take records of one partition in, as the intake does."""
    progress = progress or PartitionProgress()
    for record in records:
        progress.begin(record.offset)
    return [take_in(record, progress) for record in records]


class FakePublisher(Publisher):
    """A Publisher that keeps what it is given, in the order in which it acknowledges it.

    For tests:
        events, messages: what was published, and what was sent as it is (dead letters).
        failures: raised and taken away one by one before anything is acknowledged.
        log: "publish" and "send", in order, beside whatever a test appends.
    """

    def __init__(self) -> None:
        super().__init__(Brokers("nowhere:0"))
        self.events: list[Event[Any]] = []
        self.messages: list[Message] = []
        self.failures: list[Exception] = []
        self.log: list[str] = []

    async def publish(self, events: Sequence[Event[Any]]) -> None:
        await self._arrive("publish")
        self.events += events

    async def send(self, messages: Sequence[Message]) -> None:
        await self._arrive("send")
        self.messages += messages

    async def _arrive(self, what: str) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.log.append(what)
