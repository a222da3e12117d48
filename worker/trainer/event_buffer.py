"""What a trainer has said and nobody has yet: bounded, and never in the way of who speaks."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from contracts.envelope import Event
from contracts.training import TrainingProgress

#: Events held while nothing can be sent. Essential ones are held beyond it: they are few.
LIMIT = 1000


class _Waiting(NamedTuple):
    event: Event[TrainingProgress]
    essential: bool
    since: float


class EventBuffer:
    """Events in the order they were said, from one thread that speaks to any that send.

    Senders take without removing and say what is done, so that two may send the same: then it is sent twice. Where it
    is full, events that are not essential give way, evenly: what is left still tells the whole way, and how far it is.
    No method but :meth:`wait_until_empty` blocks.
    """

    def __init__(self, limit: int = LIMIT, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._last = False
        self._stride = 1

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        """Add an event."""
        with self._lock:
            if len(self._waiting) >= self._limit:
                self._thin()
            self._waiting.append(_Waiting(event, essential, self._monotonic()))

    def oldest(self, most: int | None = None) -> list[Event[TrainingProgress]]:
        """Return the oldest events, in order: so many of them, or all."""
        with self._lock:
            count = len(self._waiting) if most is None else min(most, len(self._waiting))
            return [self._waiting[index].event for index in range(count)]

    def done(self, events: Sequence[Event[TrainingProgress]]) -> None:
        """Remove events that :meth:`oldest` returned, as far as they are still there."""
        ids = {event.id for event in events}
        with self._lock:
            while self._waiting and self._waiting[0].event.id in ids:
                self._waiting.popleft()
            self._tell_if_empty()

    def clear(self) -> None:
        """Remove everything."""
        with self._lock:
            self._waiting.clear()
            self._tell_if_empty()

    def hurry(self) -> None:
        """Say that nothing more will come, and that what is here cannot wait any longer."""
        with self._lock:
            self._last = True

    def overdue(self, seconds: float, *, essential_at_once: bool = False) -> bool:
        """Return whether something has waited for so long, or may not wait at all."""
        with self._lock:
            if not self._waiting:
                return False
            if self._last or (essential_at_once and any(waiting.essential for waiting in self._waiting)):
                return True
            return self._monotonic() - self._waiting[0].since >= seconds

    def wait_until_empty(self, timeout_seconds: float) -> bool:
        """Block until all is done, at most so long; return whether it is."""
        with self._lock:
            return self._emptied.wait_for(lambda: not self._waiting, timeout_seconds)

    def _thin(self) -> None:
        """Keep every second, fourth, ... event that is not essential, until half of the room is free of them."""
        last = self._waiting[-1]
        while True:
            kept = [each for each in self._waiting if each.essential or each.event.data.seq % self._stride == 0]
            if sum(not each.essential for each in kept) <= self._limit // 2:
                break
            self._stride *= 2
        self._waiting = deque(kept if kept and kept[-1] is last else [*kept, last])

    def _tell_if_empty(self) -> None:
        if not self._waiting:
            self._stride = 1
            self._emptied.notify_all()
