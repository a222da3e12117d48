"""Waiting for a condition, in place of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Callable

INTERVAL_SECONDS = 0.02


async def wait_until(
    predicate: Callable[[], object],
    timeout: float = 60.0,  # noqa: ASYNC109 - this helper is what makes the time limit, with words
    what: str = "the condition",
) -> None:
    """Return once ``predicate()`` is true; it may be a coroutine function. Checked at least once.

    Raises:
        AssertionError: ``what`` did not come about within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s in vain for: {what}")
        await asyncio.sleep(INTERVAL_SECONDS)
