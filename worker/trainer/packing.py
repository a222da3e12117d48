"""Texts packed into rows of a model's context: little of a row is left empty, and no text is cut that fits.

A text longer than the context is cut into pieces of it. The pieces of a row know nothing of each other.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from handlers.planning.packing import packed, pieces
from worker.trainer.token_file import Row, TokenReader


class Piece(NamedTuple):
    """The tokens [start, end) of a sequence."""

    sequence: int
    start: int
    end: int


class PackedRows:
    """Texts of a reader, in an order, packed: a sequence of rows, whose sequences are the pieces in them."""

    def __init__(self, reader: TokenReader, order: Sequence[int] | npt.NDArray[np.int64], context: int) -> None:
        self._reader, self._context = reader, context
        self._pieces = [array("q"), array("i"), array("i")]
        for piece in _cut(reader, order, context):
            for column, value in zip(self._pieces, piece, strict=True):
                column.append(value)
        self._members, self._ends = array("q"), array("q", [0])
        starts, ends = self._pieces[1:]
        for row in packed((end - start for start, end in zip(starts, ends, strict=True)), context):
            self._members.extend(row)
            self._ends.append(len(self._members))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Row:
        members = self._members[self._ends[index] : self._ends[index + 1]]
        found = [Piece(*(column[member] for column in self._pieces)) for member in members]
        return Row(tuple(self._reader.tokens(*piece) for piece in found), np.zeros(len(found), np.int32))


def _cut(reader: TokenReader, order: Iterable[int], context: int) -> Iterator[Piece]:
    """Yield texts in this order, cut where they are longer than the context."""
    for number in order:
        for start, end in pieces(reader.length(number), context):
            yield Piece(number, start, end)
