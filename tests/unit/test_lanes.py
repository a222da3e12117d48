"""Order inside a key, side by side between keys, and nothing that runs twice at once or is passed over."""

from msgspec.structs import replace

from tests.fakes.delivery import command_record, items_of, poison_record, progress_record
from tests.fakes.lanes import Work, emptied, lanes_of
from tests.wait import wait_until
from worker.delivery.item import Item
from worker.delivery.lanes import LONGEST_RUN


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
        await emptied(lanes)
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
        await emptied(lanes)
    assert work.most_at_once == 3
    assert sorted(work.offsets) == list(range(10))


async def test_what_waits_to_be_tried_again_holds_no_runner_and_keeps_its_place() -> None:
    work = Work()
    work.delays = [0.05]
    async with lanes_of(work, concurrency=1) as lanes:
        for item in items_of([command_record(0, "failing"), command_record(1, "failing"), command_record(2, "other")]):
            lanes.put(item)
        await emptied(lanes)
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
        await emptied(lanes)
    assert sorted(work.runs) == [[0], [1, 2, 3], [9]]


async def test_folding_takes_poison_alone() -> None:
    work = Work()
    async with lanes_of(work, folds=True) as lanes:
        for item in items_of([poison_record(offset, topic="training.progress") for offset in range(3)]):
            lanes.put(item)
        await emptied(lanes)
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
        await emptied(lanes)
    assert work.runs == [[0, 1], [2], [3]]


async def test_a_run_has_a_limit() -> None:
    work = Work()
    gate = work.hold("task-1")
    async with lanes_of(work, folds=True) as lanes:
        for item in items_of([progress_record(seq) for seq in range(LONGEST_RUN + 10)]):
            lanes.put(item)
        gate.set()
        await emptied(lanes)
    assert [len(run) for run in work.runs] == [LONGEST_RUN, 10]
