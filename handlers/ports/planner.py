"""The draw of samples, as handlers need it."""

from typing import Protocol

from handlers.planning.selection import Draws, Selection


class Planner(Protocol):
    """Draws samples, off the event loop."""

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:
        """Return what comes of a selection: a pure function of it and of the sample rows it names.

        With a task's id the fate of every line is stored first, as Parquet, under ``layout.fates``. Idempotent.

        Raises FileNotFoundError where sample rows are gone, Transient where the process was killed, Unavailable where
        the bucket does not answer.
        """
        ...
