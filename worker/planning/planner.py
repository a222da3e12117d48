"""The Planner: a draw runs in a process of the pool, where numpy and Parquet are imported when they are needed."""

import asyncio
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool

from handlers.errors import Transient
from handlers.planning.selection import Draws, Selection
from handlers.ports.store import ObjectStore
from worker.over_bucket import over_bucket
from worker.settings import Settings


class PoolPlanner:
    """The Planner. What is in memory does not depend on the number of samples."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings, self._pool = settings, pool

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:
        """Return what comes of a selection; with a task's id, store every line's fate first. See the port.

        Raises:
            FileNotFoundError: sample rows are gone.
            Transient: the process was killed.
            Unavailable: the bucket does not answer.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, over_bucket, self._settings, _drawn, selection, task_id)
        except BrokenProcessPool as error:
            raise Transient("a process that drew samples was killed") from error


class StorePlanner:
    """The Planner in this very process."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:
        """Return what comes of a selection. See the port. Blocks."""
        from worker.planning.bucket_draw import draw_from_bucket  # noqa: PLC0415 - numpy

        return await draw_from_bucket(self._store, selection, task_id)


async def _drawn(store: ObjectStore, selection: Selection, task_id: str | None) -> Draws:
    return await StorePlanner(store).draw(selection, task_id)
