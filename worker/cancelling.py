"""Cancelling tasks for good."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 1.0


async def cancel(tasks: Iterable["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until all have ended; how they ended is looked at by nobody. May be called twice.

    Once is not enough: a cancellation that comes just as what a task awaits is done, or fails, may be lost. Before
    Python 3.12 asyncio.wait_for does so, which clients use, and a TaskGroup whose child has failed.
    """
    tasks = set(tasks)
    while left := {task for task in tasks if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)  # or each would be logged as never looked at
