"""Lanes: first in, first out inside a key; different keys side by side, under one bound."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from worker.delivery.item import Item

Lane = tuple[str, int, str]

#: Processes items of one lane. Returns None when they are finished, or the seconds after which to try them again.
Process = Callable[[list[Item]], Awaitable[float | None]]

#: Events folded in one go at the most: bounds how long one key may hold a runner.
LONGEST_RUN = 500


class Lanes:
    """Runs items, in order inside a lane, with at most ``concurrency`` lanes at a time.

    A lane that waits to be tried again holds no runner. ``folds``: consecutive events of a lane are processed together.
    """

    def __init__(self, process: Process, concurrency: int, *, folds: bool = False) -> None:
        self._process = process
        self._folds = folds
        self._lanes: dict[Lane, deque[Item]] = {}
        self._ready: asyncio.Queue[Lane] = asyncio.Queue()
        self._running: dict[Lane, asyncio.Event] = {}
        self._runners: list[asyncio.Task[None]] = []
        self._timers: dict[Lane, asyncio.TimerHandle] = {}
        self._concurrency = concurrency
        self._closed = False

    @property
    def depth(self) -> int:
        """Return how many items wait or run."""
        return sum(len(queue) for queue in self._lanes.values())

    def start(self) -> None:
        """Start the runners. Needs a running event loop."""
        self._runners = [asyncio.create_task(self._run(), name=f"lane-{n}") for n in range(self._concurrency)]

    def put(self, item: Item) -> None:
        """Append an item to its lane. Never blocks."""
        queue = self._lanes.get(item.lane)
        if queue is not None:
            queue.append(item)
            return
        self._lanes[item.lane] = deque([item])
        self._ready.put_nowait(item.lane)

    async def abandon(self, topic: str, partition: int, grace_seconds: float) -> None:
        """Drop what waits of a partition and wait for what runs, at most ``grace_seconds``."""
        for lane in [lane for lane in self._lanes if lane[:2] == (topic, partition)]:
            self._drop_waiting(lane)
        running = [event for lane, event in self._running.items() if lane[:2] == (topic, partition)]
        await self._wait_for(running, grace_seconds)

    async def close(self, grace_seconds: float) -> None:
        """Take nothing more from the lanes, wait for what runs, and end the runners."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        await self._wait_for(list(self._running.values()), grace_seconds)
        for runner in self._runners:
            runner.cancel()
        await asyncio.gather(*self._runners, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            lane = await self._ready.get()
            queue = self._lanes.get(lane)
            if queue is None or self._closed:
                continue
            items = self._next(queue)
            self._running[lane] = done = asyncio.Event()
            try:
                delay = await self._process(items)
            finally:
                del self._running[lane]
                done.set()
            self._after(lane, queue, len(items), delay)

    def _next(self, queue: deque[Item]) -> list[Item]:
        if not self._folds or queue[0].event is None:
            return [queue[0]]
        run: list[Item] = []
        for item in queue:
            if item.event is None or len(run) == LONGEST_RUN:
                break
            run.append(item)
        return run

    def _after(self, lane: Lane, queue: deque[Item], count: int, delay: float | None) -> None:
        if delay is not None and queue:
            loop = asyncio.get_running_loop()
            self._timers[lane] = loop.call_later(delay, self._again, lane)
            return
        for _ in range(min(count, len(queue))):
            queue.popleft()
        if queue:
            self._ready.put_nowait(lane)
        elif self._lanes.get(lane) is queue:
            del self._lanes[lane]

    def _again(self, lane: Lane) -> None:
        self._timers.pop(lane, None)
        self._ready.put_nowait(lane)

    def _drop_waiting(self, lane: Lane) -> None:
        # A running lane keeps its queue object: _after finds it empty and leaves a newer one alone.
        queue = self._lanes.pop(lane)
        queue.clear()
        if timer := self._timers.pop(lane, None):
            timer.cancel()

    @staticmethod
    async def _wait_for(events: list[asyncio.Event], seconds: float) -> None:
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(event.wait()) for event in events]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for task in late:
                task.cancel()
