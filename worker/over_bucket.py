"""Work in a process of the pool, over a bucket opened there: a client cannot go from process to process."""

import asyncio
from collections.abc import Awaitable, Callable
from multiprocessing import parent_process
from typing import Any, TypeVar

from worker.settings import Settings
from worker.storage import open_store
from worker.telemetry import configure_logging

Result = TypeVar("Result")


def over_bucket(settings: Settings, work: Callable[..., Awaitable[Result]], *arguments: Any) -> Result:
    """Return ``work(store, *arguments)``. Blocks. In a process of the pool, it logs as the worker does from then on.

    Raises what the work does, and what opening the bucket does.
    """
    if parent_process():
        configure_logging(settings.log_format, settings.log_level)

    async def run() -> Result:
        async with open_store(settings) as store:
            return await work(store, *arguments)

    return asyncio.run(run())
