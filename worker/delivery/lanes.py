"""Lanes: first in, first out inside a key; different keys side by side, under one bound."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import structlog

from worker.cancelling import cancel
from worker.delivery.item import Item

log = structlog.get_logger()

#: What keeps order: (topic, partition, key).
Key = tuple[str, int, str]

#: Processes items of one lane. Returns None when they are finished, or the seconds after which to try them again.
Process = Callable[[list[Item]], Awaitable[float | None]]

#: Events folded in one go at the most: bounds how long one key may hold a runner.
LONGEST_RUN = 500

#: Seconds until the next try where processing raised, which it promises not to do.
_BROKEN_PROMISE_DELAY = 30.0


class Rest(NamedTuple):
    """After a run its lane rests, so that what comes meanwhile is folded into one. What is urgent ends the rest."""

    seconds: float
    urgent: Callable[[Item], bool]


@dataclass(slots=True, eq=False)
class _Lane:
    """The items of one key. At any time it is idle, in the ready queue, waiting for its timer, or running: one of."""

    key: Key
    waiting: deque[Item] = field(default_factory=deque)
    run: list[Item] = field(default_factory=list)
    #: Set when what runs has ended; there only while somebody waits for that.
    ended: asyncio.Event | None = None
    timer: asyncio.TimerHandle | None = None
    #: Its timer is that of a rest: it may end early.
    resting: bool = False
    ready: bool = False
    abandoned: bool = False

    def when_ended(self) -> asyncio.Event:
        """Return what is set when what runs now has ended."""
        self.ended = self.ended or asyncio.Event()
        return self.ended

    @property
    def idle(self) -> bool:
        return not (self.run or self.ready or self.timer)


class Lanes:
    """Runs items, in order inside a lane, with at most ``concurrency`` lanes at a time.

    A lane that waits to be tried again holds no runner. ``folds``: consecutive events of a lane are processed together;
    with a ``rest``, fewer and longer runs: the first event is processed at once, those behind it when its rest is over.
    A key never runs twice at once, not even where a run outlives its assignment and the partition comes back.
    """

    def __init__(self, process: Process, concurrency: int, *, folds: bool = False, rest: Rest | None = None) -> None:
        self._process = process
        self._folds = folds
        self._rest = rest
        self._lanes: dict[Key, _Lane] = {}
        self._ready: asyncio.Queue[_Lane] = asyncio.Queue()
        self._runners: list[asyncio.Task[None]] = []
        self._concurrency = concurrency
        self._closed = False

    @property
    def depth(self) -> int:
        """Return how many items wait or run."""
        return sum(len(lane.waiting) + len(lane.run) for lane in self._lanes.values())

    def oldest(self) -> Iterator[Item]:
        """Yield the first unfinished item of each lane."""
        for lane in self._lanes.values():
            first = next((item for item in chain(lane.run, lane.waiting) if not item.finished), None)
            if first is not None:
                yield first

    def start(self) -> None:
        """Start the runners. Needs a running event loop."""
        self._runners = [asyncio.create_task(self._run(), name=f"lane-{n}") for n in range(self._concurrency)]

    def put(self, item: Item) -> None:
        """Append an item to its lane. Never blocks."""
        key = item.lane
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        lane.waiting.append(item)
        if lane.resting and self._is_pressing(lane, item):
            self._disarm(lane)
        if lane.idle:
            self._make_ready(lane)

    def wake(self, topic: str, partition: int) -> None:
        """End the rests of what waits of a partition: too much does. May be called at any time."""
        for lane in self._lanes.values():
            if lane.resting and lane.waiting and lane.key[:2] == (topic, partition):
                self._disarm(lane)
                self._make_ready(lane)

    async def abandon(self, topic: str, partition: int, grace_seconds: float) -> None:
        """Drop what waits of a partition and wait for what runs, at most ``grace_seconds``."""
        running = []
        for lane in [lane for lane in self._lanes.values() if lane.key[:2] == (topic, partition)]:
            lane.waiting.clear()
            self._disarm(lane)
            if lane.run:
                lane.abandoned = True
                running.append(lane)
            elif lane.idle:
                del self._lanes[lane.key]
        await self._wait_for(running, grace_seconds)

    async def close(self, grace_seconds: float) -> None:
        """Take nothing more from the lanes, wait for what runs, and end the runners."""
        self._closed = True
        for lane in self._lanes.values():
            self._disarm(lane)
        await self._wait_for([lane for lane in self._lanes.values() if lane.run], grace_seconds)
        await cancel(self._runners)

    async def _run(self) -> None:
        while True:
            lane = await self._ready.get()
            lane.ready = False
            if self._closed:
                continue
            if lane.waiting:
                self._take(lane)
                try:
                    delay = await self._process(lane.run)
                except Exception:
                    # A runner that dies would leave its lane, and in time every lane, unprocessed for good.
                    log.exception("lane.process_raised", lane=lane.key)
                    delay = _BROKEN_PROMISE_DELAY
                self._after(lane, delay)
            if lane.idle and not lane.waiting:
                del self._lanes[lane.key]

    def _take(self, lane: _Lane) -> None:
        lane.run = [lane.waiting.popleft()]
        if not self._folds or lane.run[0].event is None:
            return
        while lane.waiting and lane.waiting[0].event is not None and len(lane.run) < LONGEST_RUN:
            lane.run.append(lane.waiting.popleft())

    def _after(self, lane: _Lane, delay: float | None) -> None:
        run, lane.run = lane.run, []
        abandoned, lane.abandoned = lane.abandoned, False
        if lane.ended:
            lane.ended.set()
            lane.ended = None
        if delay is not None and not abandoned:
            lane.waiting.extendleft(reversed(run))
            if not self._closed:
                lane.timer = asyncio.get_running_loop().call_later(delay, self._again, lane)
        elif self._rest and not abandoned and not any(self._is_pressing(lane, item) for item in lane.waiting):
            self._let_rest(lane, self._rest.seconds)
        elif lane.waiting:
            self._make_ready(lane)

    def _let_rest(self, lane: _Lane, seconds: float) -> None:
        if not self._closed:
            lane.resting = True
            lane.timer = asyncio.get_running_loop().call_later(seconds, self._again, lane)

    def _is_pressing(self, lane: _Lane, item: Item) -> bool:
        """Return whether a rest is not worth it: for this item, or because no run could take more than waits."""
        return self._rest is None or len(lane.waiting) >= LONGEST_RUN or self._rest.urgent(item)

    def _again(self, lane: _Lane) -> None:
        lane.timer, lane.resting = None, False
        self._make_ready(lane)

    def _make_ready(self, lane: _Lane) -> None:
        lane.ready = True
        self._ready.put_nowait(lane)

    @staticmethod
    def _disarm(lane: _Lane) -> None:
        if lane.timer:
            lane.timer.cancel()
            lane.timer, lane.resting = None, False

    @staticmethod
    async def _wait_for(lanes: list[_Lane], seconds: float) -> None:
        waits = [asyncio.create_task(lane.when_ended().wait()) for lane in lanes]
        if waits:
            _, late = await asyncio.wait(waits, timeout=seconds)
            for task in late:
                task.cancel()
