"""Due times: records wait in a heap until their time has come, without holding anything up."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime

from handlers.ports.clock import Clock
from worker.delivery.item import Item


class DueTimes:
    """Releases items when they are due. Nothing is stored: what waits is not committed, so a restart waits again.

    A record that is due already (a replay of years ago) is released at once.
    """

    def __init__(self, clock: Clock, release: Callable[[Item], None]) -> None:
        self._clock = clock
        self._release = release
        self._heap: list[tuple[datetime, int, Item]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Return how many items wait."""
        return len(self._heap)

    @property
    def first_due(self) -> datetime | None:
        """Return the earliest due time, which is in the past where the event loop is late; None where nothing waits."""
        return self._heap[0][0] if self._heap else None

    def put(self, item: Item, due: datetime) -> None:
        """Release the item when it is due. Items with the same due time keep their order."""
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, item))
        self._arm()

    def abandon(self, topic: str, partition: int) -> None:
        """Drop what waits of a partition: whoever has it now reads it again."""
        self._heap = [
            entry for entry in self._heap if (entry[2].record.topic, entry[2].record.partition) != (topic, partition)
        ]
        heapq.heapify(self._heap)

    def close(self) -> None:
        """Release nothing more."""
        if self._timer:
            self._timer.cancel()
        self._heap.clear()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            self._release(heapq.heappop(self._heap)[2])
        if self._heap:
            # Looked at again at least every minute: the machine's clock may be set meanwhile.
            wait = min(60.0, (self._heap[0][0] - now).total_seconds())
            self._timer = asyncio.get_running_loop().call_later(wait, self._arm)
