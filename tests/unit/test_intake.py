"""Taking in and committing, over a consumer that is told what to say: what only a rebalance shows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from faststream.kafka import KafkaBroker
from msgspec.structs import replace

from contracts.codec import encode_body
from handlers.outcome import Outcome
from handlers.table import STAGES, Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, FakeRecord, command_record
from tests.wait import wait_until
from worker.delivery import intake
from worker.delivery.dead_letters import reason_of
from worker.delivery.intake import Intake
from worker.delivery.processing import Processor
from worker.delivery.standing import Load, Look
from worker.settings import Settings

P0, P1 = TopicPartition("task.command", 0), TopicPartition("task.command", 1)


class FakeConsumer:
    """The part of aiokafka's consumer that the intake uses, and its assignment."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] = set()
        self.committed: dict[TopicPartition, int] = {}
        self.paused: set[TopicPartition] = set()
        self.failures: list[Exception] = []
        self.refused = 0
        self.ends: dict[TopicPartition, int] = {}
        self.positions: dict[TopicPartition, int] = {}

    async def commit(self, positions: dict[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self._check(*positions)
        self.committed |= positions

    async def end_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        self._check(*partitions)
        return {partition: self.ends.get(partition, 0) for partition in partitions}

    async def position(self, partition: TopicPartition) -> int:
        self._check(partition)
        return self.positions.get(partition, 0)

    def pause(self, partition: TopicPartition) -> None:
        self._check(partition)
        self.paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        self._check(partition)
        self.paused.discard(partition)

    def _check(self, *partitions: TopicPartition) -> None:
        if strangers := set(partitions) - self.assigned:
            self.refused += 1
            raise IllegalStateError(f"not assigned: {strangers}")


class Story:
    """An intake with a handler that a test holds, and the consumer that feeds it."""

    def __init__(self, stage: Stage | None = None, **settings: Any) -> None:
        self.clock = ManualClock()
        self.consumer = FakeConsumer()
        self.handled: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.publisher = FakePublisher()
        stage = stage or Stage("tested", ("task.command",), self._handle, ())
        processor = Processor(stage, self._handle, self.publisher, self.clock)
        made = replace(Settings(), revoke_grace_seconds=0.05, drain_seconds=0.05, **settings)
        self.intake = Intake(stage, KafkaBroker("nowhere:0"), processor, self.clock, made)
        cast("Any", self.intake)._subscriber.consumer = self.consumer

    async def _handle(self, event: Any) -> Outcome:
        self.handled.append(event.key)
        if event.key in self.gates:
            await self.gates[event.key].wait()
        return Outcome(name="done")

    def hold(self, key: str) -> asyncio.Event:
        self.gates[key] = asyncio.Event()
        return self.gates[key]

    async def assign(self, *partitions: TopicPartition) -> None:
        self.consumer.assigned = set(partitions)
        await self.intake.on_partitions_assigned(set(partitions))

    async def revoke(self) -> None:
        await self.intake.on_partitions_revoked(set(self.consumer.assigned))

    async def feed(self, *records: FakeRecord) -> None:
        message = await self.intake._parse(cast("Any", tuple(records)))
        await self.intake._take_batch(message)


Open = Callable[..., Story]


@pytest.fixture
async def open_story() -> AsyncIterator[Open]:
    stories: list[Story] = []

    def make(*args: Any, **settings: Any) -> Story:
        stories.append(Story(*args, **settings))
        stories[-1].intake.start()
        return stories[-1]

    yield make
    for story in stories:
        await story.intake.drain()


def _commands(offsets: Sequence[int], *, partition: int = 0, key: str = "task") -> list[FakeRecord]:
    return [command_record(offset, f"{key}-{offset}", partition=partition) for offset in offsets]


async def test_what_is_done_is_committed_and_nothing_past_what_is_not(open_story: Open) -> None:
    story = open_story()
    gate = story.hold("task-1")
    await story.assign(P0, P1)
    await story.feed(*_commands(range(4)), *_commands([10, 11], partition=1))
    await wait_until(lambda: story.consumer.committed == {P0: 1, P1: 12}, what="the commit up to the held record")
    gate.set()
    await wait_until(lambda: story.consumer.committed[P0] == 4, what="the commit of all")


async def test_what_was_read_ahead_of_a_revoke_is_not_taken_in_after_it(open_story: Open) -> None:
    story = open_story()
    await story.assign(P0, P1)
    await story.feed(*_commands([0]))
    await story.revoke()
    await story.feed(*_commands([1, 2]))
    await story.assign(P1)
    await story.feed(*_commands([5], partition=1))
    await wait_until(lambda: story.consumer.committed.get(P1) == 6, what="commits to go on")
    assert {"task-1", "task-2"}.isdisjoint(story.handled)


async def test_a_revoke_waits_for_what_runs_commits_it_and_drops_the_rest(open_story: Open) -> None:
    story = open_story(concurrency=1)
    gate = story.hold("task-0")
    await story.assign(P0)
    await story.feed(*_commands(range(3)))
    await wait_until(lambda: story.handled == ["task-0"])
    revoking = asyncio.create_task(story.revoke())
    await asyncio.sleep(0)
    gate.set()
    await revoking
    assert story.consumer.committed == {P0: 1}
    assert story.handled == ["task-0"]


async def test_a_revoke_waits_one_grace_for_all_partitions_together(open_story: Open) -> None:
    story = open_story()
    partitions = [TopicPartition("task.command", number) for number in range(12)]
    await story.assign(*partitions)
    for partition in partitions:
        story.hold(f"stuck-{partition.partition}")
        await story.feed(*_commands([partition.partition], partition=partition.partition, key="stuck"))
    await wait_until(lambda: len(story.handled) == 12)
    abandon, waiting, side_by_side = story.intake.lanes.abandon, 0, 0

    async def counted(topic: str, partition: int, grace_seconds: float) -> None:
        nonlocal waiting, side_by_side
        waiting += 1
        side_by_side = max(side_by_side, waiting)
        await abandon(topic, partition, grace_seconds)
        waiting -= 1

    story.intake.lanes.abandon = counted  # type: ignore[method-assign]  # counts who waits at a time
    await story.revoke()
    assert side_by_side == 12
    assert story.consumer.committed == {partition: partition.partition for partition in partitions}


async def test_a_partition_that_comes_back_begins_afresh(open_story: Open) -> None:
    story = open_story()
    story.hold("task-0")
    await story.assign(P0)
    await story.feed(*_commands([0, 1]))
    await wait_until(lambda: len(story.handled) == 2)
    await story.revoke()
    await story.assign(P0)
    await story.feed(*_commands([0, 1]))
    story.gates.pop("task-0").set()
    await wait_until(lambda: story.consumer.committed.get(P0) == 2, what="the second assignment's commit")
    assert sorted(story.handled) == ["task-0", "task-0", "task-1", "task-1"]


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), IllegalStateError("not yours")])
async def test_a_commit_that_fails_is_made_again(open_story: Open, error: Exception) -> None:
    story = open_story()
    story.consumer.failures = [error]
    await story.assign(P0)
    await story.feed(*_commands([0]))
    await wait_until(lambda: story.consumer.committed == {P0: 1}, what="the commit")
    assert story.consumer.failures == []


async def test_the_committer_survives_an_assignment_that_changes_under_it(open_story: Open) -> None:
    story = open_story(spread_limit=1)
    story.hold("task-0")
    await story.assign(P0)
    story.consumer.assigned = set()
    with pytest.raises(IllegalStateError):
        await story.feed(*_commands([0]))
    refused = story.consumer.refused
    await wait_until(lambda: story.consumer.refused > refused, what="a turn of the committer")
    story.consumer.assigned = {P0}
    story.gates.pop("task-0").set()
    await wait_until(lambda: story.consumer.committed == {P0: 1}, what="the commit")


async def test_a_drain_ends_though_the_coordinator_never_answers(
    open_story: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client looks for it without end, and nobody could stop the worker any more."""
    monkeypatch.setattr(intake, "_COMMIT_GIVE_UP_SECONDS", 0.01)
    story = open_story()
    await story.assign(P0)
    asked = 0

    async def never(_: Any) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(story.consumer, "commit", never)
    await story.feed(*_commands([0]))
    await wait_until(lambda: story.handled == ["task-0"])
    async with asyncio.timeout(60):
        await story.intake.drain()
    assert asked


async def test_a_partition_far_ahead_is_paused_and_taken_up_again(open_story: Open) -> None:
    story = open_story(spread_limit=10)
    gate = story.hold("task-0")
    await story.assign(P0, P1)
    await story.feed(*_commands(range(9)))
    assert story.consumer.paused == set()
    await story.feed(*_commands([9]))
    assert story.consumer.paused == {P0}
    gate.set()
    await wait_until(lambda: story.consumer.paused == set(), what="the partition to be resumed")


async def test_draining_finishes_what_runs_and_commits_it(open_story: Open) -> None:
    story = open_story(concurrency=1)
    gate = story.hold("task-0")
    await story.assign(P0)
    await story.feed(*_commands([0, 1]))
    await wait_until(lambda: story.handled == ["task-0"])
    draining = asyncio.create_task(story.intake.drain())
    await asyncio.sleep(0)
    gate.set()
    await draining
    await story.feed(*_commands([2]))
    assert story.handled == ["task-0"]
    assert story.consumer.committed == {P0: 1}


async def test_a_record_that_cannot_be_placed_is_dead_lettered_and_the_others_go_on(open_story: Open) -> None:
    # A delay no calendar has: from the environment it cannot come, and this is about what nobody thought of.
    estimation = next(stage for stage in STAGES if stage.due)
    story = open_story(estimation, estimate_delay_seconds=1e15)
    place = TopicPartition("dataset.validated", 0)
    await story.assign(place)
    await story.feed(*(_verdict(offset, story.clock.now()) for offset in range(2)))
    await wait_until(lambda: story.consumer.committed == {place: 2}, what="the commit past both dead letters")
    letters = [reason_of(message[3]) for message in story.publisher.messages]
    assert [(letter["reason"], letter["offset"]) for letter in letters] == [("not-placed", "0"), ("not-placed", "1")]
    assert "OverflowError" in letters[0]["text"]


def _verdict(offset: int, imported_at: datetime) -> FakeRecord:
    body = {
        "dataset_id": f"d-{offset}", "project": "p", "digest": "x", "format": "sft", "files": [], "samples": 1,
        "valid_samples": 1, "totals": {}, "findings": [], "imported_at": imported_at,
    }  # fmt: skip
    return FakeRecord(topic="dataset.validated", offset=offset, key=b"d", value=encode_body(body))


async def test_an_estimate_waits_for_its_due_time_and_no_publisher_s_clock_makes_it_wait_longer(
    open_story: Open,
) -> None:
    estimation = next(stage for stage in STAGES if stage.due)
    story = open_story(estimation, estimate_delay_seconds=0.02)
    now = story.clock.now()
    await story.assign(TopicPartition("dataset.validated", 0))
    await story.feed(
        _verdict(0, now - timedelta(days=400)), _verdict(1, now), _verdict(2, datetime(2999, 1, 1, tzinfo=UTC))
    )
    await wait_until(lambda: story.handled == ["d-0"])
    assert story.intake.due.waiting == 2
    await story.clock.advance(0.02)
    await wait_until(lambda: sorted(story.handled) == ["d-0", "d-1", "d-2"], what="both that were due")


async def test_a_look_tells_what_waits_on_the_broker_from_what_is_in_work(open_story: Open) -> None:
    story = open_story()
    gate = story.hold("task-1")
    await story.assign(P0, P1)
    story.consumer.ends = {P0: 7, P1: 3}
    story.consumer.positions = {P0: 7, P1: 1}  # a batch of the first is still on its way to us
    await story.feed(*_commands(range(2)))
    await wait_until(lambda: story.handled == ["task-0", "task-1"], what="the second record in work")

    assert await story.intake.look() == Look(untaken=7, taken=2, unfinished=1, in_lanes=1)

    gate.set()
    await wait_until(lambda: story.intake.lanes.depth == 0, what="the end of it")
    assert await story.intake.look() == Look(untaken=7, taken=2, unfinished=0, in_lanes=0)


async def test_what_a_paused_partition_has_left_is_held_back_not_missed(open_story: Open) -> None:
    story = open_story(spread_limit=2)
    gates = [story.hold("task-0"), story.hold("task-1")]
    await story.assign(P0, P1)
    story.consumer.ends = {P0: 9, P1: 3}
    await story.feed(*_commands(range(2)))
    assert story.consumer.paused == {P0}

    assert await story.intake.look() == Look(untaken=3, taken=2, unfinished=2, in_lanes=2, held_back=7)
    for gate in gates:
        gate.set()


async def test_the_load_says_how_long_the_oldest_record_could_have_been_done(open_story: Open) -> None:
    story = open_story(concurrency=1)
    gate = story.hold("task-0")
    await story.assign(P0)
    assert story.intake.load() == Load(taken=0, unfinished=0, in_lanes=0, waiting=0, overdue_seconds=0)
    now = int(story.clock.now().timestamp() * 1000)
    old, young, timeless = _commands(range(3))
    old.timestamp, young.timestamp, timeless.timestamp = now - 3_000, now + 60_000, -1
    await story.feed(old, young, timeless)

    assert story.intake.load() == Load(taken=3, unfinished=3, in_lanes=3, waiting=0, overdue_seconds=3)
    await story.clock.advance(4)
    assert story.intake.load().overdue_seconds == 7
    gate.set()
    await wait_until(lambda: story.intake.lanes.depth == 0, what="the end of all")
    assert story.intake.load() == Load(taken=3, unfinished=0, in_lanes=0, waiting=0, overdue_seconds=0)


async def test_an_estimate_is_overdue_from_its_due_time_on(open_story: Open) -> None:
    estimation = next(stage for stage in STAGES if stage.due)
    story = open_story(estimation, estimate_delay_seconds=5)
    await story.assign(TopicPartition("dataset.validated", 0))
    gates = [story.hold("d-0"), story.hold("d-1")]
    await story.feed(_verdict(0, story.clock.now() - timedelta(seconds=7)), _verdict(1, story.clock.now()))
    await wait_until(lambda: story.handled == ["d-0"])

    assert story.intake.load() == Load(taken=2, unfinished=2, in_lanes=1, waiting=1, overdue_seconds=2)
    gates[0].set()
    await wait_until(lambda: story.intake.lanes.depth == 0, what="the first to be done")
    assert story.intake.load() == Load(taken=2, unfinished=1, in_lanes=0, waiting=1, overdue_seconds=0)
    # The clock moves, the event loop's timer does not: a loop that is too busy to look.
    await story.clock.advance(9)
    assert story.intake.load() == Load(taken=2, unfinished=1, in_lanes=0, waiting=1, overdue_seconds=4)
    gates[1].set()


async def test_a_look_in_the_middle_of_a_rebalance_sees_what_it_can(open_story: Open) -> None:
    story = open_story()
    await story.assign(P0)
    story.consumer.assigned = set()

    assert await story.intake.look() == Look(untaken=0, taken=0, unfinished=0, in_lanes=0)
