"""What tasks are told that wait for a quota: which one, and how many of their project are before them."""

from typing import NamedTuple

from handlers import task_state
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from handlers.reconciliation import place_is_news
from handlers.tenancy import queue
from handlers.tenancy.fairness import Shortage
from handlers.tenancy.queue import Place
from worker.sweeps.remedies import Remedies

#: Tasks that are told their place in one sweep: each costs the bucket a read and a write.
TOLD_AT_ONCE = 100


class _Told(NamedTuple):
    """What a task was told last, and when by our own clock."""

    position: int
    quota: str | None
    at: float


class AdmissionPlaces:
    """Tells tasks their places, not too often: with each one that starts, all of its project move.

    What was told is remembered here and written in each task's state: another worker looks there first.
    """

    def __init__(self, store: ObjectStore, clock: Clock, remedies: Remedies, every_seconds: float) -> None:
        """``every_seconds``: between two times that a task is told."""
        self._store = store
        self._clock = clock
        self._remedies = remedies
        self._every_seconds = every_seconds
        self._told: dict[str, _Told] = {}

    def forget_all_but(self, keys: set[str]) -> None:
        """Forget those that have left the queue."""
        self._told = {key: told for key, told in self._told.items() if key in keys}

    async def tell(self, line: list[Place], short: Shortage | None, at_most: int) -> int:
        """Tell a project's tasks, ``at_most`` so many, which quota their first one waits for. Return how many were."""
        quota, now = short.quota if short else None, self._clock.monotonic()
        news = [
            (position, place)
            for position, place in enumerate(line, 1)
            if self._is_news(self._told.get(place.key), position, quota, now)
        ][:at_most]
        message = f"waits for a quota: {short.message}" if short else "waits for its project's turn"
        for position, place in news:
            self._told[place.key] = _Told(position, quota, now)
            await self._tell(place, position, message)
        return len(news)

    def _is_news(self, told: _Told | None, position: int, quota: str | None, now: float) -> bool:
        if told is None:
            return True
        moved = told.position != position and place_is_news(told.position, position)
        return (moved or told.quota != quota) and now - told.at >= self._every_seconds

    async def _tell(self, place: Place, position: int, message: str) -> None:
        state = await task_state.read(self._store, place.task_id)
        if state is None or state.desired != "run" or state.phase not in task_state.WITH_JOB:
            # Stopped or paused at the very moment it was put into the queue.
            await self._store.delete(place.key)
        elif (state.reason, state.queue_position) != (queue.WAITING, position):
            await self._remedies.waits(state, position, message)
