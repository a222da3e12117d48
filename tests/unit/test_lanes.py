"""Order inside a key, side by side between keys, and nothing that runs twice at once or is passed over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fakes.delivery import command_record, items_of, poison_record, progress_record
from tests.wait import wait_until
from worker.delivery.item import Item
from worker.delivery.lanes import LONGEST_RUN, Lanes


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
    process: Callable[[list[Item]], Awaitable[float | None]], concurrency: int = 4, *, folds: bool = False
) -> AsyncIterator[Lanes]:
    lanes = Lanes(process, concurrency, folds=folds)
    lanes.start()
    try:
        yield lanes
    finally:
        await lanes.close(0)


async def _emptied(lanes: Lanes) -> None:
    await wait_until(lambda: lanes.depth == 0, what="empty lanes")


async def test_order_within_a_key_and_side_by_side_between_keys() -> None:
    work = Work()
    gate = work.hold("slow")
    async with lanes_of(work) as lanes:
        for item in items_of([command_record(0, "slow"), command_record(1, "slow"), command_record(2, "fast")]):
            lanes.put(item)
        await wait_until(lambda: 2 in work.offsets, what="the key that is not held up")
        assert 1 not in work.offsets
        assert lanes.depth == 2
        gate.set()
        await _emptied(lanes)
    assert [offset for offset in work.offsets if offset != 2] == [0, 1]


async def test_no_more_keys_at_a_time_than_the_bound() -> None:
    work = Work()
    gates = [work.hold(f"key-{n}") for n in range(10)]
    async with lanes_of(work, concurrency=3) as lanes:
        for item in items_of([command_record(n, f"key-{n}") for n in range(10)]):
            lanes.put(item)
        await wait_until(lambda: len(work.running) == 3)
        for gate in gates:
            gate.set()
        await _emptied(lanes)
    assert work.most_at_once == 3
    assert sorted(work.offsets) == list(range(10))


async def test_what_waits_to_be_tried_again_holds_no_runner_and_keeps_its_place() -> None:
    work = Work()
    work.delays = [0.05]
    async with lanes_of(work, concurrency=1) as lanes:
        for item in items_of([command_record(0, "failing"), command_record(1, "failing"), command_record(2, "other")]):
            lanes.put(item)
        await _emptied(lanes)
    assert work.offsets == [0, 2, 0, 1]


async def test_a_process_that_raises_takes_no_runner_with_it() -> None:
    seen: list[int] = []

    async def breaks(items: list[Item]) -> float | None:
        seen.append(items[0].record.offset)
        if items[0].record.offset == 0:
            raise RuntimeError("it promised not to")
        return None

    async with lanes_of(breaks, concurrency=1) as lanes:
        for item in items_of([command_record(0, "a"), command_record(1, "b")]):
            lanes.put(item)
        await wait_until(lambda: seen == [0, 1], what="the runner to go on")
        assert lanes.depth == 1, "the one that raised is kept, to be tried again"


async def test_folding_takes_the_run_that_waits() -> None:
    work = Work()
    gate = work.hold("task-1")
    async with lanes_of(work, folds=True) as lanes:
        items = items_of([progress_record(seq) for seq in range(4)] + [progress_record(9, "task-2")])
        lanes.put(items[0])
        await wait_until(lambda: work.running)
        for item in items[1:]:
            lanes.put(item)
        gate.set()
        await _emptied(lanes)
    assert sorted(work.runs) == [[0], [1, 2, 3], [9]]


async def test_folding_takes_poison_alone() -> None:
    work = Work()
    async with lanes_of(work, folds=True) as lanes:
        for item in items_of([poison_record(offset, topic="training.progress") for offset in range(3)]):
            lanes.put(item)
        await _emptied(lanes)
    assert work.runs == [[0], [1], [2]]


async def test_a_run_stops_at_poison() -> None:
    work = Work()
    async with lanes_of(work, folds=True) as lanes:
        items = items_of([progress_record(seq) for seq in range(4)])
        for item in items:
            assert item.event
            item.event = replace(item.event, key=repr(b"task-1"))
        bad = items_of([poison_record(2, topic="training.progress")])[0]
        assert bad.lane == items[0].lane
        for item in (items[0], items[1], bad, items[3]):
            lanes.put(item)
        await _emptied(lanes)
    assert work.runs == [[0, 1], [2], [3]]


async def test_a_run_has_a_limit() -> None:
    work = Work()
    gate = work.hold("task-1")
    async with lanes_of(work, folds=True) as lanes:
        for item in items_of([progress_record(seq) for seq in range(LONGEST_RUN + 10)]):
            lanes.put(item)
        gate.set()
        await _emptied(lanes)
    assert [len(run) for run in work.runs] == [LONGEST_RUN, 10]


async def test_abandoning_drops_what_waits_waits_for_what_runs_and_leaves_other_partitions() -> None:
    work = Work()
    gate = work.hold("running")
    async with lanes_of(work) as lanes:
        mine = items_of([command_record(0, "running"), command_record(1, "running")])
        other = items_of([command_record(0, "other", partition=1)])
        for item in mine:
            lanes.put(item)
        await wait_until(lambda: work.running)
        abandoning = asyncio.create_task(lanes.abandon("task.command", 0, 10))
        lanes.put(other[0])
        await wait_until(lambda: len(work.runs) == 2, what="the other partition")
        assert not abandoning.done()
        gate.set()
        await abandoning
        await _emptied(lanes)
    assert work.runs == [[0], [0]]


async def test_a_grace_has_an_end() -> None:
    work = Work()
    gate = work.hold("stuck")
    async with lanes_of(work) as lanes:
        lanes.put(items_of([command_record(0, "stuck")])[0])
        await wait_until(lambda: work.running)
        await lanes.abandon("task.command", 0, 0.01)
        assert work.running == ["stuck"]
        gate.set()
        await _emptied(lanes)


async def test_a_partition_that_comes_back_waits_for_the_run_that_outlived_it() -> None:
    work = Work()
    gate = work.hold("task-1")
    async with lanes_of(work) as lanes:
        lanes.put(items_of([command_record(0)])[0])
        await wait_until(lambda: work.running)
        await lanes.abandon("task.command", 0, 0)
        for item in items_of([command_record(0), command_record(1), command_record(2)]):
            lanes.put(item)
        gate.set()
        await _emptied(lanes)
    assert work.offsets == [0, 0, 1, 2]
    assert not work.twice_at_once


async def test_what_was_dropped_is_not_tried_again_after_its_run_fails() -> None:
    work = Work()
    gate = work.hold("task-1")
    work.delays = [0.01]
    async with lanes_of(work) as lanes:
        lanes.put(items_of([command_record(7)])[0])
        await wait_until(lambda: work.running)
        await lanes.abandon("task.command", 0, 0)
        lanes.put(items_of([command_record(8)])[0])
        gate.set()
        await _emptied(lanes)
    assert work.offsets == [7, 8]


async def test_an_abandoned_lane_that_was_ready_does_not_run_twice_after_it_comes_back() -> None:
    work = Work()
    gates = [work.hold("busy-1"), work.hold("busy-2")]
    async with lanes_of(work, concurrency=2) as lanes:
        for item in items_of([command_record(0, "busy-1"), command_record(0, "busy-2"), command_record(1)]):
            lanes.put(item)
        await wait_until(lambda: len(work.running) == 2)
        await lanes.abandon("task.command", 0, 0)
        for item in items_of([command_record(offset) for offset in (1, 2, 3)]):
            lanes.put(item)
        for gate in gates:
            gate.set()
        await _emptied(lanes)
    assert work.offsets == [0, 0, 1, 2, 3]
    assert not work.twice_at_once


async def test_closing_lets_what_runs_end_and_starts_nothing() -> None:
    work = Work()
    gate = work.hold("task-1")
    lanes = Lanes(work, 2)
    lanes.start()
    for item in items_of([command_record(0), command_record(1)]):
        lanes.put(item)
    await wait_until(lambda: work.running)
    closing = asyncio.create_task(lanes.close(10))
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert work.runs == [[0]]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("lane-")]


_KEYS = st.sampled_from(["a", "b", "c"])
_STEPS = st.lists(st.one_of(st.tuples(st.just("put"), _KEYS), st.just(("abandon", ""))), max_size=40)


@settings(deadline=None, max_examples=60)
@given(steps=_STEPS, delays=st.lists(st.sampled_from([None, 0.0, 0.001]), max_size=30), folds=st.booleans())
def test_whatever_happens_order_holds_and_what_was_not_dropped_is_processed(
    steps: list[tuple[str, str]], delays: list[float | None], *, folds: bool
) -> None:
    async def story() -> None:
        work = Work()
        work.delays = list(delays)
        kept: list[int] = []
        async with lanes_of(work, concurrency=2, folds=folds) as lanes:
            for offset, (step, key) in enumerate(steps):
                if step == "put":
                    record = progress_record(offset, key) if folds else command_record(offset, key)
                    lanes.put(items_of([record])[0])
                    kept.append(offset)
                else:
                    await lanes.abandon("training.progress" if folds else "task.command", 0, 0)
                    kept.clear()
                    await asyncio.sleep(0)
            await wait_until(lambda: lanes.depth == 0, what="empty lanes")
        assert not work.twice_at_once
        assert set(kept) <= set(work.offsets)
        for key in "abc":
            of_key = [offset for offset in work.offsets if steps[offset][1] == key]
            first_tries = list(dict.fromkeys(of_key))
            assert first_tries == sorted(first_tries)

    asyncio.run(story())
