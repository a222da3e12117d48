"""Lengths packed into rows of a model's context: little of a row is left empty, and nothing is cut that fits.

The trainer packs its texts by it, and a fee that ends within an epoch counts by it.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

#: Rows that are open at a time: more fill better, and move texts further from where they were.
_OPEN = 64


def pieces(length: int, capacity: int) -> Iterator[tuple[int, int]]:
    """Yield the parts [start, end) in which a length is packed: one, unless it is longer than the capacity."""
    for start in range(0, length, capacity):
        yield start, min(start + capacity, length)


def packed(lengths: Iterable[int], capacity: int) -> Iterator[list[int]]:
    """Yield rows: the indices of the lengths in each, whose sum is at most the capacity. No length may be above it.

    Best fit, among a bounded number of open rows: memory does not grow. Deterministic, roughly in order.
    """
    rows: dict[int, list[int]] = {}
    free: list[tuple[int, int]] = []  # (what is left, row), rising
    for index, length in enumerate(lengths):
        place = bisect_left(free, (length, -1))
        left, row = free.pop(place) if place < len(free) else (capacity, index)
        rows.setdefault(row, []).append(index)
        if left > length:
            insort(free, (left - length, row))
        else:
            yield rows.pop(row)
        if len(free) > _OPEN:
            yield rows.pop(free.pop(0)[1])
    yield from rows.values()
