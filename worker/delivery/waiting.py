"""Until when a stage's records have to wait: an estimate for its delay, a postponed record for that of its topic."""

from datetime import datetime, timedelta

from handlers.ports.clock import Clock
from handlers.table import Stage
from worker.delivery.item import Item
from worker.delivery.later import delay_topics, due_at


def estimate_due(imported_at: datetime, seen_at: datetime, delay_seconds: float) -> datetime:
    """Return when the estimate of an import that was seen at a time is due. Pure.

    Nothing was imported in the future: a publisher's wrong clock must not hold up what comes behind it.
    """
    return min(imported_at, seen_at) + timedelta(seconds=delay_seconds)


class Waiting:
    """The waits of one stage. ``delays``: its delay topics, each with its delay in seconds."""

    def __init__(self, stage: Stage, clock: Clock, estimate_delay_seconds: float) -> None:
        self.delays = delay_topics(stage)
        self._stage = stage
        self._clock = clock
        self._estimate_delay_seconds = estimate_delay_seconds

    def until(self, item: Item) -> datetime | None:
        """Return when a record is due, None where it need not wait. Raises OverflowError for a time no calendar has."""
        if delay := self.delays.get(item.record.topic):
            return due_at(item, delay, self._clock.now())
        if self._stage.due and item.event:
            return estimate_due(item.event.data.imported_at, self._clock.now(), self._estimate_delay_seconds)
        return None

    def overdue_seconds(self, item: Item) -> float:
        """Return since when a record could have been done: since it was due, or else since it was published."""
        now = self._clock.now()
        try:
            due = self.until(item)
        except OverflowError:
            return 0.0  # It is about to be a dead letter for that.
        if due is not None:
            return max(0.0, (now - due).total_seconds())
        # Records of the oldest format have no time, and say -1.
        return max(0.0, now.timestamp() - item.record.timestamp / 1000) if item.record.timestamp >= 0 else 0.0
