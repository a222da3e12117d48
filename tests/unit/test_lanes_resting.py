"""Rests between two runs of a lane: fewer and longer runs, and nothing that matters waits. On virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.fakes.delivery import items_of, poison_record, progress_record
from tests.fakes.lanes import Work, lanes_of
from tests.fakes.virtual_time import run_virtually
from worker.delivery.item import Item
from worker.delivery.lanes import LONGEST_RUN, Lanes, Rest

SECONDS = 5.0
PARTITION = ("training.progress", 0)

Story = Callable[[Lanes, Work], Coroutine[Any, Any, None]]


class TimedWork(Work):
    """Work that knows when each run began."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []

    async def __call__(self, items: list[Item]) -> float | None:
        self.began.append(asyncio.get_running_loop().time())
        return await super().__call__(items)


def _told(story: Story, *, urgent: int = -1) -> TimedWork:
    """Tell a story on lanes that rest; the record with the offset ``urgent`` is."""
    work = TimedWork()
    rest = Rest(SECONDS, lambda item: item.poison is not None or item.record.offset == urgent)

    async def run() -> None:
        async with lanes_of(work, folds=True, rest=rest) as lanes:
            await story(lanes, work)

    run_virtually(run())
    return work


def _put(lanes: Lanes, *offsets: int, key: str = "task-1") -> None:
    for offset in offsets:
        lanes.put(items_of([progress_record(offset, key)])[0])


async def _a_step_a_second(lanes: Lanes, _: Work) -> None:
    for offset in range(21):
        _put(lanes, offset)
        await asyncio.sleep(1)
    await asyncio.sleep(SECONDS)


def test_the_first_is_processed_at_once_and_those_behind_it_together_after_each_rest() -> None:
    work = _told(_a_step_a_second)
    assert work.runs[0] == [0]
    assert work.offsets == list(range(21))
    assert len(work.runs) == 6
    assert all(later - earlier >= SECONDS for earlier, later in zip(work.began, work.began[1:], strict=False))


def test_what_is_urgent_ends_the_rest_and_takes_along_what_waits_before_it() -> None:
    work = _told(_a_step_a_second, urgent=7)
    run = next(number for number, offsets in enumerate(work.runs) if 7 in offsets)
    assert work.runs[run] == [5, 6, 7]
    assert work.began[run] < 7.01
    assert work.offsets == list(range(21))


def test_what_is_urgent_and_comes_while_a_run_goes_on_waits_for_no_rest_after_it() -> None:
    async def story(lanes: Lanes, work: Work) -> None:
        gate = work.hold("task-1")
        _put(lanes, 0)
        await asyncio.sleep(0.1)
        _put(lanes, 1, 2, 3)
        gate.set()
        await asyncio.sleep(0.1)
        assert work.runs == [[0], [1, 2, 3]]

    _told(story, urgent=2)


def test_poison_and_a_full_run_wait_for_nothing() -> None:
    async def story(lanes: Lanes, _: Work) -> None:
        _put(lanes, 0)
        await asyncio.sleep(0.1)
        lanes.put(items_of([poison_record(1, topic="training.progress", key=b"task-1")])[0])
        _put(lanes, *range(1, LONGEST_RUN), key="task-2")
        await asyncio.sleep(0.1)
        _put(lanes, *range(LONGEST_RUN, 2 * LONGEST_RUN), key="task-2")
        await asyncio.sleep(0.1)
        assert lanes.depth == 0

    _told(story)


def test_other_keys_do_not_rest_along_and_a_partition_that_is_woken_rests_no_more() -> None:
    async def story(lanes: Lanes, work: Work) -> None:
        _put(lanes, 0)
        await asyncio.sleep(1)
        _put(lanes, 1)
        _put(lanes, 2, key="task-2")
        await asyncio.sleep(0.1)
        assert work.offsets == [0, 2]
        lanes.wake("training.progress", 1)
        await asyncio.sleep(0.1)
        assert work.offsets == [0, 2]
        lanes.wake(*PARTITION)
        await asyncio.sleep(0.1)
        assert work.offsets == [0, 2, 1]

    _told(story)


def test_what_waits_in_a_rest_is_dropped_with_its_partition_and_no_timer_is_left() -> None:
    async def story(lanes: Lanes, work: Work) -> None:
        _put(lanes, 0)
        await asyncio.sleep(1)
        _put(lanes, 1)
        await lanes.abandon(*PARTITION, 0)
        assert lanes.depth == 0
        _put(lanes, 1)
        await asyncio.sleep(0.1)
        assert work.runs == [[0], [1]], "a partition that comes back begins afresh"

    _told(story)


def test_a_run_that_fails_is_tried_again_when_it_says_and_not_sooner() -> None:
    async def story(lanes: Lanes, work: Work) -> None:
        work.delays = [2.0]
        _put(lanes, 0)
        await asyncio.sleep(1)
        _put(lanes, 1)
        lanes.wake(*PARTITION)
        await asyncio.sleep(0.5)
        assert work.runs == [[0]]
        await asyncio.sleep(1)
        assert work.runs == [[0], [0, 1]]

    _told(story, urgent=1)
