"""The executors that are configured, opened and closed together."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from handlers.errors import Unavailable
from handlers.ports.executors import Choice, Executor
from worker.catalog.executors import Placement, load_placement
from worker.executors.registry import open_executor
from worker.settings import Settings


class ConfiguredExecutors:
    """The Executors port, by a file of rules."""

    def __init__(self, placement: Placement, executors: Mapping[str, Executor]) -> None:
        self._placement = placement
        self._executors = dict(executors)

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        """Return what serves a task's next attempt. See Executors."""
        return self._placement.choose(project, model_name, training_type)

    def of(self, name: str) -> Executor:
        """Return an executor by name. See Executors."""
        if name not in self._executors:
            known = ", ".join(self._executors)
            raise Unavailable(
                f"executor {name!r} is not configured here (there are {known}), and attempts run on it: name it under "
                "executors in the file of WORKER_EXECUTORS_FILE until they have ended"
            )
        return self._executors[name]

    def every(self) -> Sequence[Executor]:
        """Return every executor. See Executors."""
        return tuple(self._executors.values())


@asynccontextmanager
async def open_executors(settings: Settings) -> AsyncIterator[ConfiguredExecutors]:
    """Open every executor that the rules name, and close them at the end.

    Raises SettingsError as load_placement does.
    """
    placement = await asyncio.to_thread(load_placement, settings)
    async with AsyncExitStack() as stack:
        executors: dict[str, Executor] = {}
        for name in placement.names:
            executor = open_executor(name, settings)
            stack.push_async_callback(executor.close)
            executors[name] = executor
        yield ConfiguredExecutors(placement, executors)
