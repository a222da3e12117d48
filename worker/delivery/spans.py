"""What delivery tells whoever traces it: the seam to worker/traces, which is not there where nobody wants spans."""

from collections.abc import Sequence
from typing import Any, Protocol

from contracts.envelope import Event
from handlers.outcome import Outcome
from worker.delivery.item import Item


class Span(Protocol):
    """One try to handle an event, or a run of events that is folded. No method raises or blocks."""

    def carried(self, events: Sequence[Event[Any]]) -> list[Event[Any]]:
        """Return the events with this span as their place in the trace: what they cause then follows from it."""
        ...

    def handled(self, outcome: Outcome) -> None:
        """Note what came of it."""
        ...

    def failed(self, error: Exception) -> None:
        """Note that it failed, and is tried again where nothing else is noted."""
        ...

    def put_away(self, outcome: str) -> None:
        """Note what became of an event that is not tried again here."""
        ...

    def end(self) -> None:
        """End it."""
        ...


class Spans(Protocol):
    """Begins the spans of one stage."""

    def begin(self, items: Sequence[Item]) -> Span:
        """Begin the span of a try; the task works in it until its end. Never raises."""
        ...
