"""What becomes of lanes when their partition goes, comes back, or the worker ends."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.delivery import command_record, items_of, progress_record
from tests.fakes.lanes import Work, emptied, lanes_of
from tests.wait import wait_until
from worker.delivery.lanes import Lanes, Rest


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
        await emptied(lanes)
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
        await emptied(lanes)


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
        await emptied(lanes)
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
        await emptied(lanes)
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
        await emptied(lanes)
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


@settings(max_examples=60)
@given(
    steps=_STEPS,
    delays=st.lists(st.sampled_from([None, 0.0, 0.001]), max_size=30),
    folds=st.booleans(),
    rest=st.sampled_from([None, Rest(0.001, lambda item: item.record.offset % 3 == 0)]),
)
def test_whatever_happens_order_holds_and_what_was_not_dropped_is_processed(
    steps: list[tuple[str, str]], delays: list[float | None], rest: Rest | None, *, folds: bool
) -> None:
    async def story() -> None:
        work = Work()
        work.delays = list(delays)
        kept: list[int] = []
        async with lanes_of(work, concurrency=2, folds=folds, rest=rest) as lanes:
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
