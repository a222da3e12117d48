"""Where a record first came from. One that waited in a delay topic is still the record of its own topic."""

from typing import NamedTuple, Protocol

from contracts.envelope import Headers

#: Headers that only delivery itself reads begin with one of these; everything else is the original's.
LETTER_PREFIX = "dl_"
LATER_PREFIX = "later_"


class Record(Protocol):
    """What is read of a Kafka record; aiokafka's ConsumerRecord is one."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class Source(NamedTuple):
    """The place a record was first read from, and what it went through since."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    attempts: int = 0
    steps: int = 0


def source_of(record: Record) -> Source:
    """Return where a record first came from: what a delay topic's headers say, or the record's own place.

    Raises:
        ValueError: a delay topic's record does not say it; nobody but us publishes there.
    """
    said = {name.removeprefix(LATER_PREFIX): value for name, value in record.headers if name.startswith(LATER_PREFIX)}
    if "topic" not in said:
        return Source(record.topic, record.partition, record.offset, record.timestamp)
    numbers = [int(said[field] or b"") for field in ("partition", "offset", "timestamp", "attempts", "steps")]
    return Source((said["topic"] or b"").decode(), *numbers)


def original_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers without ours."""
    return [(name, value) for name, value in headers if not name.startswith((LETTER_PREFIX, LATER_PREFIX))]
