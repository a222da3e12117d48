"""A worker in the process of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from handlers.table import STAGES, Stage
from tests.wait import wait_until
from worker.app import run_worker
from worker.settings import Settings


@asynccontextmanager
async def running_worker(
    settings: Settings, stages: Sequence[Stage] = STAGES, *, ports: Mapping[str, Any]
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a worker until the block ends, drained then; yields a function that stops it before, in order, and waits.

    Enters once it has joined its groups. Raises what a worker raises that ends before, or later, at the end.
    """
    stopping, started = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stages, stopping=stopping, started=started, ports=ports))

    async def stop() -> None:
        stopping.set()
        await task

    try:
        await wait_until(lambda: started.is_set() or task.done(), 120, "the worker to start")
        if task.done():
            await task
        yield stop
    finally:
        await stop()
