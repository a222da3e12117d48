"""One record on its way: as it came, as it was decoded, and how often it was tried."""

from dataclasses import dataclass, field
from typing import Any

import structlog

from contracts.codec import Poison, decode
from contracts.envelope import Event
from contracts.topics import TOPICS
from worker.delivery.offsets import PartitionProgress
from worker.delivery.redelivery import Meaning
from worker.delivery.source import Record, Source, original_headers, source_of

log = structlog.get_logger()


@dataclass(slots=True)
class Item:
    """A record with its event, or with why it is none.

    ``source`` is where the record first came from, which for one of a delay topic is not ``record``'s own place.
    ``attempts`` counts every try; ``failures`` those that failed, by what the error meant.
    """

    record: Record
    progress: PartitionProgress
    source: Source
    event: Event[Any] | None = None
    poison: Poison | None = None
    attempts: int = 0
    failures: dict[Meaning, int] = field(default_factory=dict)
    finished: bool = False

    @property
    def lane(self) -> tuple[str, int, str]:
        """Return what keeps order: (topic, partition, key). Poison orders with what has its raw key."""
        key = self.event.key if self.event else repr(self.record.key)
        return (self.record.topic, self.record.partition, key)

    def finish(self) -> None:
        """Note that the follow-ons or the dead letter are acknowledged: the record may be committed. Idempotent."""
        if not self.finished:
            self.finished = True
            self.progress.finish(self.record.offset)


def take_in(record: Record, progress: PartitionProgress) -> Item:
    """Decode a record. Never raises: what cannot be decoded is an item with its poison."""
    item = Item(record, progress, Source(record.topic, record.partition, record.offset, record.timestamp))
    try:
        headers = record.headers
        if record.topic not in TOPICS:
            item.source = source_of(record)
            item.attempts = item.source.attempts
            headers = original_headers(headers)
        source = item.source
        item.event = decode(source.topic, record.key, record.value, headers, source.timestamp)
    except Poison as poison:
        item.poison = poison
    except Exception as error:
        # A bug of the decoder's must not escape: the rest of the batch would never be taken in.
        log.exception("record.decoder_failed", topic=record.topic, partition=record.partition, offset=record.offset)
        item.poison = Poison("decoder-failed", repr(error))
    return item
