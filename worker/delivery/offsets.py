"""How far a partition is done: the lowest unfinished offset is what may be committed, never more."""

import heapq


class PartitionProgress:
    """The records of one partition taken in during one assignment. Not shared between assignments.

    Records begin in offset order and finish in any order. Gaps in the offsets (compaction, transactions) count as done.
    """

    def __init__(self) -> None:
        self._open: list[int] = []
        self._finished: set[int] = set()
        self._newest = -1
        self.committed = -1
        self.revoked = False

    def begin(self, offset: int) -> None:
        """Note a record that was taken in."""
        heapq.heappush(self._open, offset)
        self._newest = max(self._newest, offset)

    def finish(self, offset: int) -> None:
        """Note a record whose follow-ons or dead letter are acknowledged. May be called once a record."""
        self._finished.add(offset)
        while self._open and self._open[0] in self._finished:
            self._finished.discard(heapq.heappop(self._open))

    @property
    def position(self) -> int:
        """Return the offset to commit: the next one this group still has to process; -1 before the first record."""
        if self._open:
            return self._open[0]
        return self._newest + 1 if self._newest >= 0 else -1

    @property
    def taken_to(self) -> int:
        """Return the offset after the newest record taken in; 0 before the first."""
        return self._newest + 1

    @property
    def unfinished(self) -> int:
        """Return how many records are taken in and not finished."""
        return len(self._open) - len(self._finished)

    @property
    def spread(self) -> int:
        """Return the distance from the lowest unfinished record to the newest taken in."""
        return self._newest - self._open[0] + 1 if self._open else 0
