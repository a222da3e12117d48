"""The search for equal digests, in any order: a bounded table of those seen, and a split where it overflows.

An entry is a row of three numbers: the digest, as two words, and the position of its line. Wherever entries are kept,
those of one digest are in the order of their positions, so the first to come is the first there is.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.validation.spill import MAX_PARTS, PartNumbers, Rows, Spill, read_rows

#: Memory of a search, in bytes for each entry of its table: as many are read at once, and both are sorted together.
BYTES_AN_ENTRY = 256

#: Fewer entries than this are never split.
_MIN_ENTRIES = 4

_WORD_BITS = 64


class Stream(NamedTuple):
    """Entries to be searched, at most ``rows``, whose digests begin with the same ``used`` bits."""

    blocks: Iterator[Rows]
    rows: int
    used: int


def search(
    spools: Sequence[Path],
    starts: Sequence[int],
    directory: Path,
    memory_bytes: int,
    report: Callable[[Rows], None],
) -> None:
    """Give every copy to ``report``, once, in any order, as rows (position, position of the first of its kind).

    ``starts`` are the positions of the files' first lines, and at last the number of all lines. Blocks; the memory does
    not depend on the number of lines. Leaves files in ``directory``. Raises OSError where the disk is full.
    """
    limit = max(_MIN_ENTRIES, memory_bytes // BYTES_AN_ENTRY)
    waiting = [Stream(_spooled(spools, starts, limit), starts[-1], used=0)]
    numbers = count()
    while waiting:
        with Spill(directory, f"entries-{next(numbers)}") as spill:
            waiting += _search(waiting.pop(), limit, spill, report)


def _search(stream: Stream, limit: int, spill: Spill, report: Callable[[Rows], None]) -> list[Stream]:
    """Report the copies in a stream; where more than ``limit`` digests differ, return what is left to search."""
    known = _fold(stream.blocks, limit, report)
    return _split(known, stream, limit, spill) if len(known) > limit else []


def _fold(blocks: Iterator[Rows], limit: int, report: Callable[[Rows], None]) -> Rows:
    """Report copies until the blocks end or more than ``limit`` digests differ, and return the first of each kind."""
    known = np.empty((0, 3), np.int64)
    for block in blocks:
        known, copies = _join(known, block)
        if len(copies):
            report(copies)
        if len(known) > limit:
            break
    return known


def _join(known: Rows, block: Rows) -> tuple[Rows, Rows]:
    """Return the first entry of each kind, and (position, first position) of all others."""
    entries = np.concatenate((known, block))
    doubtful = _doubtful(entries[:, 0])
    if not doubtful.any():
        return entries, np.empty((0, 2), np.int64)
    compared = entries[doubtful]
    # Stable: of equal digests the first to come stays the first.
    compared = compared[np.lexsort((compared[:, 1], compared[:, 0]))]
    new = np.ones(len(compared), np.bool_)
    new[1:] = (compared[1:, 0] != compared[:-1, 0]) | (compared[1:, 1] != compared[:-1, 1])
    firsts = compared[new]
    first_of_each = firsts[np.cumsum(new) - 1, 2]
    copies = np.column_stack((compared[~new, 2], first_of_each[~new]))
    return np.concatenate((entries[~doubtful], firsts)), copies


def _doubtful(words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which words may have an equal one: those that share 32 bits with another.

    Two sorts of 16-bit numbers, which numpy does by radix, take a fifth of the time of one sort of whole digests.
    """
    low, high = words.astype(np.uint16), (words >> 16).astype(np.uint16)
    order = np.argsort(low, kind="stable")
    order = order[np.argsort(high[order], kind="stable")]
    low, high = low[order], high[order]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    doubtful = np.zeros(len(words), np.bool_)
    doubtful[order[1:][same]] = True
    doubtful[order[:-1][same]] = True
    return doubtful


def _split(known: Rows, stream: Stream, limit: int, spill: Spill) -> list[Stream]:
    """Put the known entries and what follows them aside, in parts by the next bits of the digests."""
    word, used = divmod(stream.used, _WORD_BITS)
    bits = min((stream.rows // limit).bit_length() or 1, MAX_PARTS.bit_length() - 1, _WORD_BITS - used)

    def parts(entries: Rows) -> PartNumbers:
        rest = entries[:, word].view(np.uint64) << np.uint64(used)
        return (rest >> np.uint64(_WORD_BITS - bits)).astype(np.uint8)

    spill.put(known, parts(known))
    for block in stream.blocks:
        spill.put(block, parts(block))
    return [Stream(_taken(part.path, limit), part.rows, stream.used + bits) for part in spill.close()]


def _spooled(spools: Sequence[Path], starts: Sequence[int], at_once: int) -> Iterator[Rows]:
    """Yield the entries of lines that count, in order. A file without lines of its own (see ``starts``) is not read."""
    for file, spool in enumerate(spools):
        start = starts[file]
        if starts[file + 1] == start:
            continue
        for digests in read_rows(spool, 2, at_once):
            counting = np.flatnonzero(digests[:, 0] | digests[:, 1])
            entries = np.empty((len(counting), 3), np.int64)
            entries[:, :2], entries[:, 2] = digests[counting], counting + start
            yield entries
            start += len(digests)


def _taken(path: Path, at_once: int) -> Iterator[Rows]:
    """Yield the entries of a part and remove it."""
    yield from read_rows(path, 3, at_once)
    path.unlink()
