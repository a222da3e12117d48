"""Copies that were found in any order, put in the order of their lines, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from handlers.validation.spill import Rows, Spill, read_rows

#: Files open at a time, besides those of the search.
_BUCKETS = 64

#: Rows read at a time, and numbers made into Python's at a time.
_ROWS_READ = 1 << 15
_ROWS_YIELDED = 1 << 12

#: Half of the memory holds the window; the other half is for what is read and yielded.
_BYTES_A_POSITION = 16

_NONE = -1


class CopyOrder:
    """Keeps copies in a directory, in buckets of neighbouring positions, of which there are ``total`` in all.

    First ``add`` copies, inside a ``with`` that closes the files; after it read ``blocks``.
    """

    def __init__(self, directory: Path, total: int, memory_bytes: int) -> None:
        self._total = total
        self._window = max(1, memory_bytes // _BYTES_A_POSITION)
        self._width = max(self._window, -(-total // _BUCKETS))
        self._spill = Spill(directory, "copies")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._spill.close()

    def add(self, copies: Rows) -> None:
        """Keep copies, as rows (position, first position); a position at most once. Blocks. Raises OSError."""
        self._spill.put(copies, (copies[:, 0] // self._width).astype(np.uint8))

    def blocks(self) -> Iterator[Rows]:
        """Yield all copies in the order of positions. Blocks."""
        for part in self._spill.close():
            start = part.number * self._width
            end = min(start + self._width, self._total)
            for low in range(start, end, self._window):
                yield from _dense(_window(part.path, low, min(low + self._window, end)), low)
            part.path.unlink()


def _window(path: Path, low: int, high: int) -> NDArray[np.int64]:
    """Return the first position of each copy from ``low`` to ``high``: its place in the array is its order."""
    firsts = np.full(high - low, _NONE, np.int64)
    for rows in read_rows(path, 2, _ROWS_READ):
        inside = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
        firsts[inside[:, 0] - low] = inside[:, 1]
    return firsts


def _dense(firsts: NDArray[np.int64], low: int) -> Iterator[Rows]:
    for start in range(0, len(firsts), _ROWS_YIELDED):
        some = firsts[start : start + _ROWS_YIELDED]
        at = np.flatnonzero(some != _NONE)
        if len(at):
            yield np.column_stack((at + (low + start), some[at]))


def places(positions: NDArray[np.int64], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the files, and the lines in them, of positions in a dataset whose files start at ``starts``."""
    table = np.array(starts, np.int64)
    # Where empty files start at the same place as the next, the last of them is the one with the line.
    files = np.searchsorted(table, positions, side="right") - 1
    return files.tolist(), (positions - table[files] + 1).tolist()
