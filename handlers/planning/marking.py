"""What each sample can be before anything is drawn: in the validation set, a leak of it, or one to draw from."""

import enum
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handlers.planning.chance import held_out
from handlers.planning.sample_rows import ROW, ROW_FIELDS, State
from handlers.planning.selection import Selection, Source
from handlers.validation.copy_search import search
from handlers.validation.spill import Rows

#: Rows looked at together.
BLOCK_ROWS = 1 << 16

#: Of the search for leaks.
MEMORY_BYTES = 32 << 20

ROW_TYPE = np.dtype(ROW_FIELDS)

Marks = NDArray[np.uint8]


class Mark(enum.IntEnum):
    """What becomes of a line. ``TRAINED`` and ``PRESET`` may still be drawn not once: then they are ``NOT_DRAWN``."""

    TRAINED = 0
    VALIDATION = 1
    PRESET = 2
    INVALID = 3
    TOO_LONG = 4
    LEAK = 5
    NOT_DRAWN = 6


class Block(NamedTuple):
    """Rows of one file of one source, and the position of the first among all rows of the selection."""

    source: int
    file: int
    start: int
    rows: NDArray[Any]


class Tables:
    """The sample rows of a selection's sources, as local files: for each source a file for each of its files."""

    def __init__(self, sources: Sequence[Source], paths: Sequence[Sequence[Path]]) -> None:
        self.sources = sources
        self._paths = paths
        sizes = [sum(path.stat().st_size // ROW.size for path in each) for each in paths]
        #: Where each source's rows begin, and at last the number of all rows.
        self.starts = list(accumulate(sizes, initial=0))

    def blocks(self, source: int) -> Iterator[Block]:
        """Yield the rows of a source in order. Blocks."""
        start = self.starts[source]
        for number, path in enumerate(self._paths[source]):
            with path.open("rb") as file:
                while chunk := file.read(BLOCK_ROWS * ROW.size):
                    rows = np.frombuffer(chunk, ROW_TYPE)
                    yield Block(source, number, start, rows)
                    start += len(rows)


def marked(selection: Selection, tables: Tables, directory: Path) -> Marks:
    """Return the mark of each row, in a file of ``directory``. Blocks.

    A training or preset sample that says the same as one of the validation set is a leak. The memory does not depend on
    the number of samples, but for a byte of each, which the system may take back.
    """
    total = tables.starts[-1]
    if not total:
        return np.empty(0, np.uint8)
    marks = np.memmap(directory / "marks", np.uint8, "w+", shape=(total,))
    kinds = {source.kind for source in selection.sources}
    split = selection.validation_percent is not None
    # Of samples that say the same all are on one side: users' samples cannot leak into what was split off them.
    boundary = tables.starts[_count(selection, "user", "validation") if split else _count(selection, "validation")]
    searched = "validation" in kinds or (split and "preset" in kinds)
    spools = []
    for number in range(len(tables.sources)):
        path = directory / f"{number}.contents"
        with path.open("wb") as spool:
            for block in tables.blocks(number):
                mine = _marks(selection, block)
                marks[block.start : block.start + len(mine)] = mine
                if searched:
                    spool.write(_contents(block, mine, either_side=not split))
        spools.append(path)
    if searched:
        search(spools, tables.starts, directory, MEMORY_BYTES, lambda copies: _mark_leaks(marks, copies, boundary))
    return marks


def _count(selection: Selection, *kinds: str) -> int:
    return sum(source.kind in kinds for source in selection.sources)


def _marks(selection: Selection, block: Block) -> Marks:
    kind = selection.sources[block.source].kind
    found = np.full(len(block.rows), {"user": Mark.TRAINED, "preset": Mark.PRESET}.get(kind, Mark.VALIDATION), np.uint8)
    if kind == "user" and selection.validation_percent is not None:
        found[held_out(block.rows["high"], selection.split_seed, selection.validation_percent)] = Mark.VALIDATION
    found[block.rows["state"] == State.TOO_LONG] = Mark.TOO_LONG
    found[block.rows["state"] == State.INVALID] = Mark.INVALID
    return found


def _contents(block: Block, marks: Marks, *, either_side: bool) -> bytes:
    """Return the digests of what can leak or be leaked into; zeros are passed over by the search."""
    counts = (marks == Mark.VALIDATION) | (marks == Mark.PRESET)
    if either_side:
        counts |= marks == Mark.TRAINED
    words = np.stack([block.rows["high"], block.rows["low"]], axis=1)
    words[~counts] = 0
    return words.tobytes()


def _mark_leaks(marks: Marks, copies: Rows, boundary: int) -> None:
    leaks = copies[(copies[:, 0] >= boundary) & (copies[:, 1] < boundary), 0]
    marks[leaks] = Mark.LEAK
