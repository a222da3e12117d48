"""Work with a publisher, as many pieces at a time as a stage runs, and how long it took."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from worker.delivery.publishing import Publisher
from worker.kafka.broker import Brokers

#: What a stage runs at a time by default.
AT_ONCE = 64


@asynccontextmanager
async def publishing_to(servers: str) -> AsyncIterator[Publisher]:
    """A publisher that is connected, and stopped at the end."""
    publisher = Publisher(Brokers(servers))
    await publisher.start()
    try:
        yield publisher
    finally:
        await publisher.stop()


async def seconds_of(lane: Callable[[], Awaitable[None]]) -> float:
    """Run so many of a lane side by side; they share their work among them. Return the seconds until all have ended."""
    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return time.perf_counter() - began
