"""Lanes over work that a test holds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.wait import wait_until
from worker.delivery.item import Item
from worker.delivery.lanes import Lanes, Rest


class Work:
    """A process that keeps what it was given and holds each run until it is let go."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.running: list[str] = []
        self.most_at_once = 0
        self.twice_at_once = False
        self.delays: list[float | None] = []
        self.gates: dict[str, asyncio.Event] = {}

    def hold(self, key: str) -> asyncio.Event:
        self.gates[key] = asyncio.Event()
        return self.gates[key]

    async def __call__(self, items: list[Item]) -> float | None:
        key = items[0].lane[2]
        self.twice_at_once |= key in self.running
        self.running.append(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.runs.append([item.record.offset for item in items])
        try:
            await asyncio.sleep(0)
            if key in self.gates:
                await self.gates[key].wait()
        finally:
            self.running.remove(key)
        return self.delays.pop(0) if self.delays else None

    @property
    def offsets(self) -> list[int]:
        return [offset for run in self.runs for offset in run]


@asynccontextmanager
async def lanes_of(
    process: Callable[[list[Item]], Awaitable[float | None]],
    concurrency: int = 4,
    *,
    folds: bool = False,
    rest: Rest | None = None,
) -> AsyncIterator[Lanes]:
    lanes = Lanes(process, concurrency, folds=folds, rest=rest)
    lanes.start()
    try:
        yield lanes
    finally:
        await lanes.close(0)


async def emptied(lanes: Lanes) -> None:
    await wait_until(lambda: lanes.depth == 0, what="empty lanes")
