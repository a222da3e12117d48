"""One record on its way: as it came, as it was decoded, and how often it was tried."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from contracts.codec import Poison, decode
from contracts.envelope import Event, Headers
from worker.delivery.offsets import PartitionProgress


class Record(Protocol):
    """What is read of a Kafka record; aiokafka's ConsumerRecord is one."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


@dataclass(slots=True)
class Item:
    """A record with its event, or with why it is none."""

    record: Record
    progress: PartitionProgress
    event: Event[Any] | None = None
    poison: Poison | None = None
    attempts: int = field(default=0)

    @property
    def lane(self) -> tuple[str, int, str]:
        """Return what keeps order: (topic, partition, key). Poison orders with what has its raw key."""
        key = self.event.key if self.event else repr(self.record.key)
        return (self.record.topic, self.record.partition, key)


def take_in(record: Record, progress: PartitionProgress) -> Item:
    """Decode a record. Never raises: what cannot be decoded is an item with its poison."""
    item = Item(record, progress)
    try:
        item.event = decode(record.topic, record.key, record.value, record.headers, record.timestamp)
    except Poison as poison:
        item.poison = poison
    return item
