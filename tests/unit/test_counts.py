"""What is counted, and when: a figure that an operator acts on is a promise."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.envelope import Event
from handlers.errors import Transient, Unavailable
from handlers.outcome import Decision, Outcome
from handlers.ports.jobs import JobSpec
from handlers.redelivery import Retry
from handlers.table import Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, command_record, items_of, poison_record, progress_record
from tests.fakes.events import event
from tests.fakes.executor import FakeExecutor
from tests.fakes.store import MemoryStore
from worker.delivery.processing import Processor
from worker.delivery.publishing import Publisher
from worker.delivery.receipts import BucketReceipts
from worker.executors.counted import CountedExecutor
from worker.kafka.broker import Brokers
from worker.metrics.counts import BOUNDS, Counts, PublishCounts, StageCounts, Timing

CAUSE = event("task.command", {"command_id": "c-1", "task_id": "t-1", "command": "stop"})


def test_a_time_counts_once_below_the_first_bound_it_does_not_exceed() -> None:
    timing = Timing()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, BOUNDS[-1], BOUNDS[-1] * 2):
        timing.observe(seconds)
    assert timing.buckets[:2] == [2, 1]
    assert timing.buckets[-2:] == [1, 1]
    assert sum(timing.buckets) == 5
    assert timing.total == pytest.approx(2.01 * BOUNDS[0] + 3 * BOUNDS[-1])


def test_bounds_rise() -> None:
    assert sorted(set(BOUNDS)) == list(BOUNDS)


class Stage3:
    """A processor over a handler that takes three seconds and then does what a test says."""

    def __init__(self, fail: Callable[[], Exception | None] = lambda: None, retry: Retry | None = None) -> None:
        self.clock = ManualClock()
        self.counts = StageCounts()
        self.publisher = FakePublisher()
        retry = retry or Retry(transient_tries=2, bug_tries=2, later=())
        stage = Stage("tested", ("task.command",), self._handle, (), folds=True, retry=retry)
        self._fail = fail
        self.process = Processor(stage, self._handle, self.publisher, self.clock, counts=self.counts)

    async def _handle(self, _: list[Event[Any]]) -> Outcome:
        await self.clock.advance(3)
        if error := self._fail():
            raise error
        return Outcome(name="done", events=(CAUSE,))

    @property
    def quiet(self) -> bool:
        """Return whether nothing but retries was counted."""
        counted = self.counts
        return not (counted.outcomes or counted.dead_letters or counted.postponed or sum(counted.handling.buckets))


async def test_a_run_counts_its_events_by_outcome_and_its_time_once() -> None:
    stage = Stage3()
    await stage.process(items_of([progress_record(seq) for seq in range(4)]))
    assert stage.counts.outcomes == {"done": 4}
    assert sum(stage.counts.handling.buckets) == 1
    assert stage.counts.handling.total == 3
    assert not stage.counts.retries


@pytest.mark.parametrize(
    ("error", "meaning"),
    [(Unavailable("down"), "unavailable"), (Transient("later"), "transient"), (KeyError("ours"), "bug")],
)
async def test_a_failure_that_is_tried_again_is_a_retry_and_nothing_else(error: Exception, meaning: str) -> None:
    stage = Stage3(lambda: error)
    await stage.process(items_of([command_record(1)]))
    assert stage.counts.retries == {meaning: 1}
    assert stage.quiet


async def test_an_acknowledgement_that_does_not_come_is_no_outcome() -> None:
    stage = Stage3()
    stage.publisher.failures = [Unavailable("no acknowledgement")]
    await stage.process(items_of([command_record(1)]))
    assert stage.counts.retries == {"unavailable": 1}
    assert stage.quiet


async def test_a_dead_letter_counts_by_its_reason_once_it_is_on_the_broker() -> None:
    stage = Stage3(lambda: KeyError("ours"))
    items = items_of([poison_record(1)])
    stage.publisher.failures = [Unavailable("no acknowledgement")]
    await stage.process(items)
    assert stage.quiet
    await stage.process(items)
    assert stage.counts.dead_letters == {"invalid-json": 1}
    items = items_of([command_record(2)])
    while await stage.process(items) is not None:
        pass
    assert stage.counts.dead_letters == {"invalid-json": 1, "bug": 1}
    assert not stage.counts.outcomes


async def test_what_goes_into_a_delay_topic_is_postponed() -> None:
    stage = Stage3(lambda: Transient("busy"), Retry(transient_tries=1, later=(60,)))
    await stage.process(items_of([command_record(1)]))
    assert stage.counts.postponed == 1
    assert not stage.counts.dead_letters


async def _nothing() -> Decision:
    return Decision(name="done")


async def test_a_receipt_is_made_once_and_found_from_then_on() -> None:
    counts = Counts()
    receipts = BucketReceipts(MemoryStore(), ManualClock(), {"a": 1}, counts=counts)
    for _ in range(3):
        await receipts.once("a", "key", CAUSE, _nothing)
    assert counts.stage("a").receipts == {"made": 1, "found": 2}


async def test_a_race_that_is_lost_is_counted_as_lost() -> None:
    store, counts = MemoryStore(), Counts()
    receipts = BucketReceipts(store, ManualClock(), {"a": 1}, counts=counts)

    async def overtaken() -> Decision:
        await BucketReceipts(store, ManualClock(), {"a": 1}).once("a", "key", CAUSE, _nothing)
        return await _nothing()

    await receipts.once("a", "key", CAUSE, overtaken)
    assert counts.stage("a").receipts == {"lost": 1}


async def test_a_receipt_that_could_not_be_put_is_none() -> None:
    store, counts = MemoryStore(), Counts()

    async def refuse(_: str, __: bytes) -> None:
        raise Unavailable("down")

    store.before_put = refuse
    with pytest.raises(Unavailable):
        await BucketReceipts(store, ManualClock(), {"a": 1}, counts=counts).once("a", "key", CAUSE, _nothing)
    assert not counts.stage("a").receipts


async def test_what_no_broker_acknowledges_is_a_failure_to_publish() -> None:
    counts = PublishCounts()
    with pytest.raises(Unavailable):
        await Publisher(Brokers("127.0.0.1:1"), counts).send([("task.status", None, b"", [])])
    assert counts.failures == 1
    assert not counts.published
    assert not sum(counts.seconds.buckets)


async def test_submits_count_by_executor_and_whether_it_took_them() -> None:
    counts, engine = Counts(), FakeExecutor("ray")
    executor = CountedExecutor(engine, counts.submits)
    spec = JobSpec(job_id="j", task_id="t", attempt=1, plan_key="p", attempt_prefix="tasks/t/1/")
    await executor.submit(spec)
    await executor.submit(spec)
    engine.available = False
    with pytest.raises(Unavailable):
        await executor.submit(spec)
    assert counts.submits == {("ray", "accepted"): 2, ("ray", "failed"): 1}


def test_a_stage_s_counts_are_one_object() -> None:
    counts = Counts()
    assert counts.stage("a") is counts.stage("a")
    assert counts.stage("a") is not counts.stage("b")
    assert list(counts.stages) == ["a", "b"]
