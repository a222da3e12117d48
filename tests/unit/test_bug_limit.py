"""The limit on bugs: a bad deploy stops a stage, and only somebody's word lets it go on."""

from typing import Any

from contracts.envelope import Event
from handlers.outcome import Outcome
from handlers.redelivery import Retry
from handlers.table import Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, command_record, items_of, poison_record
from tests.fakes.store import MemoryStore
from worker.delivery.bug_limit import BugLimit, allow
from worker.delivery.processing import Processor
from worker.delivery.source import Source


async def _buggy(_: Event[Any]) -> Outcome:
    raise KeyError("a bug")


STAGE = Stage("tested", ("task.command",), _buggy, (), retry=Retry(bug_tries=1, longest_delay=7.0))


class Worker:
    """A processor with a limit, over a bucket that others share."""

    def __init__(self, store: MemoryStore | None = None, clock: ManualClock | None = None) -> None:
        self.store, self.clock = store or MemoryStore(), clock or ManualClock()
        self.publisher = FakePublisher()
        self.limit = BugLimit(self.store, self.clock, "tested", bugs=2, window_seconds=60)
        self.process = Processor(STAGE, _buggy, self.publisher, self.clock, self.limit)

    async def give(self, *offsets: int, partition: int = 0) -> list[bool]:
        """Process records; return of each whether it was given up on."""
        items = items_of([command_record(offset, partition=partition) for offset in offsets])
        return [await self.process([item]) is None for item in items]


async def test_above_the_limit_a_record_stays_where_it_is() -> None:
    worker = Worker()
    assert await worker.give(1, 2, 3, 4) == [True, True, False, False]
    assert len(worker.publisher.messages) == 2
    assert worker.limit.stopped == {("task.command", 0)}


async def test_the_same_record_counts_once_however_often_it_comes() -> None:
    worker = Worker()
    assert await worker.give(1, 1, 1, 2) == [True, True, True, True]


async def test_partitions_are_counted_apart() -> None:
    worker = Worker()
    assert await worker.give(1, 2, 3) == [True, True, False]
    assert await worker.give(1, 2, 3, partition=1) == [True, True, False]


async def test_poison_does_not_count() -> None:
    worker = Worker()
    for item in items_of([poison_record(offset) for offset in range(10)]):
        assert await worker.process([item]) is None
    assert await worker.give(11, 12) == [True, True]


async def test_bugs_long_ago_do_not_count_but_what_is_stopped_stays_so() -> None:
    worker = Worker()
    await worker.give(1, 2)
    await worker.clock.advance(61)
    assert await worker.give(3, 4, 5) == [True, True, False]
    await worker.clock.advance(3600)
    assert await worker.give(5) == [False]


async def test_a_restart_changes_nothing_and_somebodys_word_does() -> None:
    first = Worker()
    await first.give(1, 2, 3)
    second = Worker(first.store, first.clock)
    await second.limit.refresh()
    assert second.limit.stopped == {("task.command", 0)}
    assert await second.give(3) == [False]
    assert [each.partition for each in await allow(first.store, "tested")] == [0]
    assert await allow(first.store, "tested") == []
    await second.clock.advance(10)
    await second.limit.refresh()
    assert second.limit.stopped == frozenset()
    assert await second.give(3, 4, 5) == [True, True, False]


async def test_without_the_bucket_nothing_is_given_up_on() -> None:
    worker = Worker()
    worker.store.available = False
    assert await worker.give(1) == [False]
    assert worker.publisher.messages == []


async def test_what_cannot_be_read_is_looked_at_again_and_ends_nothing() -> None:
    worker = Worker()
    await worker.give(1, 2, 3)
    (key,) = [key for key in worker.store.objects if key.startswith("bugs/")]
    good, worker.store.objects[key] = worker.store.objects[key], b"not JSON"
    other = Worker(worker.store, worker.clock)
    await other.limit.refresh()
    assert other.limit.stopped == frozenset()
    worker.store.objects[key] = good
    await worker.clock.advance(10)
    await other.limit.refresh()
    assert other.limit.stopped == {("task.command", 0)}


async def test_a_bug_that_was_admitted_stays_so_after_the_stop() -> None:
    """A crash between the count and the letter must not lose the letter."""
    worker = Worker()
    await worker.give(1, 2, 3)
    assert await worker.limit.admits(Source("task.command", 0, 2, 0))
