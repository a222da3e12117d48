"""What may be committed: the lowest unfinished record of a partition, and never more."""

from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.offsets import PartitionProgress


def _begun(*offsets: int) -> PartitionProgress:
    progress = PartitionProgress()
    for offset in offsets:
        progress.begin(offset)
    return progress


def test_nothing_taken_in_means_nothing_to_commit() -> None:
    progress = PartitionProgress()
    assert (progress.position, progress.unfinished, progress.spread) == (-1, 0, 0)
    assert not progress.position > progress.committed


def test_the_position_waits_for_the_lowest_unfinished_record() -> None:
    progress = _begun(5, 6, 7)
    progress.finish(7)
    progress.finish(6)
    assert (progress.position, progress.unfinished, progress.spread) == (5, 1, 3)
    progress.finish(5)
    assert (progress.position, progress.unfinished, progress.spread) == (8, 0, 0)


def test_gaps_count_as_done() -> None:
    progress = _begun(10, 15, 99)
    progress.finish(10)
    assert progress.position == 15
    progress.finish(99)
    assert progress.position == 15
    progress.finish(15)
    assert progress.position == 100


def test_the_first_record_may_have_offset_zero() -> None:
    progress = _begun(0)
    assert progress.position == 0
    progress.finish(0)
    assert progress.position == 1


@given(st.lists(st.integers(0, 200), unique=True, min_size=1).map(sorted), st.data())
def test_whatever_the_order_of_finishing_nothing_unfinished_is_ever_committed(
    offsets: list[int], data: st.DataObject
) -> None:
    progress = _begun(*offsets)
    unfinished = set(offsets)
    last = progress.position
    for offset in data.draw(st.permutations(offsets)):
        progress.finish(offset)
        unfinished.discard(offset)
        assert progress.position == min(unfinished, default=offsets[-1] + 1)
        assert progress.position >= last
        assert progress.unfinished == len(unfinished)
        last = progress.position


@given(st.integers(1, 30), st.data())
def test_records_may_begin_while_others_finish(count: int, data: st.DataObject) -> None:
    progress = PartitionProgress()
    begun, finished = 0, set[int]()
    while len(finished) < count:
        unfinished = sorted(set(range(begun)) - finished)
        if begun < count and (not unfinished or data.draw(st.booleans())):
            progress.begin(begun)
            begun += 1
        else:
            finished.add(offset := data.draw(st.sampled_from(unfinished)))
            progress.finish(offset)
        lowest = min(set(range(begun)) - finished, default=begun)
        assert progress.position == lowest
    assert progress.spread == 0
