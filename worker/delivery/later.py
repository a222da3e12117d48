"""Delay topics: an event whose retries outlive its lane's patience waits in one, and its partition goes on.

One topic a stage and delay. The stage reads it too, holds each record back until it is due, and commits it only then:
a restart loses nothing.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from handlers.table import Stage
from worker.delivery.item import Item
from worker.delivery.source import LATER_PREFIX, original_headers

Message = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def delay_topic(stage: str, seconds: float) -> str:
    """Return the name of the topic where a stage's events wait so long."""
    return f"{stage}.later-{seconds:g}s"


def delay_topics(stage: Stage) -> dict[str, float]:
    """Return a stage's delay topics, each with its delay in seconds."""
    return {delay_topic(stage.name, seconds): seconds for seconds in stage.retry.later}


def names(stages: Iterable[Stage]) -> list[str]:
    """Return the names of all delay topics of some stages."""
    return [name for stage in stages for name in delay_topics(stage)]


def postponed(item: Item, stage: Stage, reason: str) -> Message:
    """Return what to send so that the stage reads the event again after its next delay."""
    source, record = item.source, item.record
    ours = {
        "topic": source.topic,
        "partition": str(source.partition),
        "offset": str(source.offset),
        "timestamp": str(source.timestamp),
        "attempts": str(item.attempts),
        "steps": str(source.steps + 1),
        "reason": reason[:300],
    }
    said = [(LATER_PREFIX + name, value.encode(errors="backslashreplace")) for name, value in ours.items()]
    topic = delay_topic(stage.name, stage.retry.later[source.steps])
    return topic, record.key, record.value, original_headers(record.headers) + said


def due_at(item: Item, delay: float, now: datetime) -> datetime:
    """Return when a record of a delay topic is due. A broker's or worker's wrong clock cannot hold it for longer."""
    written = datetime.fromtimestamp(item.record.timestamp / 1000, UTC)
    return min(written, now) + timedelta(seconds=delay)
