"""Kafka as a list: the partitions of one topic that are a worker's, and the consumer that reads them."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.partitioner import murmur2

from contracts.codec import encode_body
from contracts.envelope import Headers

#: Records a poll brings at the most.
_POLLED = 1000


class Arrival(NamedTuple):
    """A record that a producer writes: when, and under which key."""

    at: float
    key: str
    partition: int


def partition_of(key: str, partitions: int) -> int:
    """Return the partition of a key by Java's partitioner, which publishers are told to use."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


@dataclass
class Record:
    """A Kafka record, with when it was written."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    at: float
    headers: Headers = field(default_factory=list)
    timestamp: int = 1_767_225_600_000


class Broker:
    """The partitions of one topic that are this worker's, and the consumer that reads them."""

    def __init__(self, topic: str, body: Callable[[int, str], bytes]) -> None:
        self.topic, self._body = topic, body
        self._logs: dict[TopicPartition, deque[Record]] = {}
        self._offsets: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.pauses = 0
        self.committed: dict[TopicPartition, int] = {}
        #: Set while there is something to poll.
        self.written = asyncio.Event()

    def write(self, arrival: Arrival) -> None:
        """Append a record."""
        place = TopicPartition(self.topic, arrival.partition)
        offset = self._offsets.get(place, 0)
        self._offsets[place] = offset + 1
        record = Record(
            self.topic, arrival.partition, offset, arrival.key.encode(), self._body(offset, arrival.key), arrival.at
        )
        self._logs.setdefault(place, deque()).append(record)
        self.written.set()

    def poll(self) -> list[Record]:
        """Return the next records, partitions in turn."""
        taken: list[Record] = []
        for place, log in self._logs.items():
            share = 0 if place in self.paused else max(1, _POLLED // len(self._logs))
            taken += [log.popleft() for _ in range(min(share, len(log)))]
        if not taken:
            self.written.clear()
        return taken

    @property
    def backlog(self) -> int:
        """Return how many records wait to be read."""
        return sum(map(len, self._logs.values()))

    def pause(self, place: TopicPartition) -> None:
        """Bring nothing more of a partition."""
        self.paused.add(place)
        self.pauses += 1

    def resume(self, place: TopicPartition) -> None:
        """Bring a partition's records again."""
        self.paused.discard(place)
        self.written.set()

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        """Keep how far the group is."""
        self.committed |= positions


def command(offset: int, key: str) -> bytes:
    return encode_body({"command_id": f"c-{offset}", "task_id": key, "command": "stop"})


def progress(offset: int, key: str) -> bytes:
    return encode_body({"task_id": key, "attempt": 1, "seq": offset, "state": "running"})
