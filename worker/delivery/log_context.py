"""What every log line says of the record that is being processed. Put together only where a line is written."""

from contextvars import ContextVar

import structlog

from contracts.spelling import clip
from worker.delivery.item import Item

_PROCESSED: ContextVar[tuple[str, Item] | None] = ContextVar("processed", default=None)


def now_processing(stage: str, item: Item) -> None:
    """Let log lines of this task, and of tasks begun in it, say which record they are about, until the next one."""
    _PROCESSED.set((stage, item))


def merge_record(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add the record that is being processed to a line; what the line says itself stands. A structlog processor."""
    processed = _PROCESSED.get()
    if processed is None:
        return line
    stage, item = processed
    event, record = item.event, item.record
    return {
        "stage": stage,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": event.key if event else _shown(record.key),
        "event_id": event.id if event else None,
        "correlation_id": event.correlation_id if event else None,
    } | dict(line)


def _shown(key: bytes | None) -> str | None:
    """Return the key of a record that could not be decoded, as far as it is text: it leads to who sent it."""
    return None if key is None else clip(key.decode(errors="backslashreplace"))
