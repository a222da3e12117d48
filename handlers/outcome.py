"""What a handler returns: a named outcome and the events that follow from it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from contracts.envelope import Event, derived_id

SOURCE = "finetune-worker"


class FollowOn(Struct, frozen=True):
    """An event a handler wants said; its id and envelope come from the cause.

    ``event_id`` and ``time`` are set only where they follow from something else than this piece of work: a task's
    status is named after the task's revision, so that a replay says the same one again.
    """

    topic: str
    key: str
    data: Any
    event_id: str | None = None
    time: datetime | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a stage: its name (for people and metrics) and the complete events to say, the same every time.

    ``links`` are traceparents of what it follows from beside the event: a trace may show them, nothing else asks.
    """

    name: str
    events: tuple[Event[Any], ...] = ()
    links: tuple[str, ...] = ()


class Decision(Struct, frozen=True, kw_only=True):
    """The result of one piece of work before it is recorded: a receipt turns its follow-ons into events."""

    name: str
    follow_ons: tuple[FollowOn, ...] = ()


def complete(
    follow_ons: Sequence[FollowOn], *, cause: Event[Any], stage: str, version: str, business_key: str, now: datetime
) -> tuple[Event[Any], ...]:
    """Return follow-ons as events whose ids derive from (stage, version, business key, type, ordinal)."""
    return tuple(
        Event(
            topic=said.topic,
            key=said.key,
            id=said.event_id or derived_id(stage, version, business_key, said.topic, ordinal),
            type=said.topic,
            source=f"{SOURCE}/{stage}",
            time=said.time or now,
            data=said.data,
            subject=said.key,
            correlation_id=cause.correlation_id,
            causation_id=cause.id,
            traceparent=cause.traceparent,
        )
        for ordinal, said in enumerate(follow_ons)
    )
