"""Due times: never early, in order, and without holding anything up."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tests.fakes.clock import ManualClock
from tests.fakes.delivery import command_record, items_of
from tests.wait import wait_until
from worker.delivery.due import DueTimes
from worker.delivery.item import Item

#: The clock stands still; the event loop's timers do not, and look at the clock again this often.
TICK = timedelta(milliseconds=10)


class Due:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.released: list[int] = []
        self.times = DueTimes(self.clock, self._release)

    def _release(self, item: Item) -> None:
        self.released.append(item.record.offset)

    def put(self, offset: int, ticks: int, *, partition: int = 0) -> None:
        item = items_of([command_record(offset, partition=partition)])[0]
        self.times.put(item, self.clock.now() + ticks * TICK)

    async def advance(self, ticks: float) -> None:
        await self.clock.advance(ticks * TICK.total_seconds())


@pytest.fixture
async def due() -> AsyncIterator[Due]:
    made = Due()
    yield made
    made.times.close()


async def test_what_is_due_already_is_released_at_once(due: Due) -> None:
    due.put(1, ticks=0)
    due.put(2, ticks=-1_000_000)
    assert due.released == [1, 2]
    assert due.times.waiting == 0


async def test_nothing_is_early_though_its_timer_fired(due: Due) -> None:
    due.put(1, ticks=1)
    due.put(2, ticks=3)
    looked = 0

    def now() -> bool:
        nonlocal looked
        looked += 1
        return looked > 5

    await wait_until(now)  # Several ticks of real time: the timer fires, the clock stands.
    assert due.released == []
    await due.advance(2)
    await wait_until(lambda: due.released == [1])
    await due.advance(0.9)
    assert due.released == [1]
    await due.advance(0.1)
    await wait_until(lambda: due.released == [1, 2])


async def test_they_come_in_the_order_of_their_due_times_and_then_of_arrival(due: Due) -> None:
    for offset, ticks in ((1, 5), (2, 3), (3, 5), (4, 1), (5, 3)):
        due.put(offset, ticks=ticks)
    assert due.times.waiting == 5
    await due.advance(5)
    await wait_until(lambda: due.times.waiting == 0)
    assert due.released == [4, 2, 5, 1, 3]


async def test_one_that_is_due_overtakes_those_that_wait(due: Due) -> None:
    due.put(1, ticks=10_000)
    due.put(2, ticks=0)
    assert due.released == [2]


async def test_what_is_abandoned_is_never_released(due: Due) -> None:
    due.put(1, ticks=1)
    due.put(2, ticks=1, partition=1)
    due.put(3, ticks=2)
    due.times.abandon("task.command", 0)
    assert due.times.waiting == 1
    await due.advance(5)
    await wait_until(lambda: due.released == [2])
    due.put(4, ticks=0)
    assert due.released == [2, 4]


async def test_the_earliest_due_time_is_told(due: Due) -> None:
    assert due.times.first_due is None
    due.put(1, ticks=9)
    due.put(2, ticks=5)
    assert due.times.first_due == due.clock.now() + 5 * TICK
    await due.advance(5)
    await wait_until(lambda: due.released == [2])
    assert due.times.first_due == due.clock.now() + 4 * TICK


async def test_after_closing_nothing_is_released(due: Due) -> None:
    due.put(1, ticks=1)
    due.times.close()
    await due.advance(10)
    assert due.times.waiting == 0
    assert due.released == []
