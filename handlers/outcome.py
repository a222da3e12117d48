"""What a handler returns: a named outcome and the events that follow from it."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from contracts.envelope import Event


class FollowOn(Struct, frozen=True):
    """An event a handler wants said; it gets its id and envelope from the cause.

    ``event_id`` is set only where the id follows from something else than the receipt: a task's status is named after
    the task's revision, so that a replay says the same one again.
    """

    topic: str
    key: str
    data: Any
    event_id: str | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a stage: its name for people and metrics, what is to be said, and what is said already.

    ``events`` are complete: a receipt turned the follow-ons into them, and says the same ones at every delivery.
    """

    name: str
    follow_ons: Sequence[FollowOn] = ()
    events: Sequence[Event[Any]] = ()
    detail: str = ""
