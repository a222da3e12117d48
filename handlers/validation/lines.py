"""Bytes to blocks of whole lines, in memory bounded by one line."""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

#: Longer lines are reported and skipped; decoders and trainers hold a line in memory.
MAX_LINE_BYTES = 16 << 20

#: Bytes of a block that are read at once: with what is made of them they fit into a processor's cache.
BLOCK_BYTES = 128 << 10

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block:
    """Whole lines with an LF between them. ``ended``: one follows the last, too."""

    def __init__(self, body: bytes, *, ended: bool = True) -> None:
        self.body, self.ended = body, ended

    @cached_property
    def lines(self) -> list[bytes]:
        """Return what stands before each LF, and after the last."""
        return self.body.split(b"\n")


class LongLine(NamedTuple):
    """A line that is longer than the bound, and was not kept; ``size`` is its length in bytes."""

    size: int
    crlf: bool


class Line(NamedTuple):
    """One line without its ending. ``body`` is None where it is longer than the bound; ``size`` is its length."""

    number: int
    body: bytes | None
    size: int
    crlf: bool = False


class BlockCutter:
    """Cuts chunks into blocks of about ``block_bytes``; a line that is longer is a block of its own.

    A byte-order mark at the start is dropped. Holds at most ``max_line_bytes`` and a few bytes. ``block_bytes`` may be
    changed at any time. Not ``at_start``: the bytes are a later part of a file.
    """

    def __init__(
        self, max_line_bytes: int = MAX_LINE_BYTES, *, block_bytes: int = BLOCK_BYTES, at_start: bool = True
    ) -> None:
        self.byte_order_mark = False
        self.block_bytes = block_bytes
        self._max = max_line_bytes
        self._pending = bytearray()
        self._size = 0  # Of the pending line; more than is held once it is too long.
        self._started = not at_start
        self._ends_with_cr = False

    def feed(self, chunk: bytes | bytearray) -> Iterator[Block | LongLine]:
        """Yield the lines that end in this chunk. Consume it whole before the next call; then it may be reused."""
        start = 0
        if not self._started:
            chunk = bytes(self._pending) + chunk
            if len(chunk) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(chunk):
                self._pending[:] = chunk
                return
            start = self._skip_mark(chunk)
        if self._size:
            end = chunk.find(b"\n", start)
            self._hold(chunk[start:end] if end >= 0 else chunk[start:])
            if end < 0:
                return
            yield self._released(ended=True)
            start = end + 1
        last = chunk.rfind(b"\n", start) + 1
        while start < last:
            end = self._block_end(chunk, start, last)
            yield Block(bytes(memoryview(chunk)[start : end - 1]))
            start = end
        self._hold(chunk[start:])

    def finish(self) -> Iterator[Block | LongLine]:
        """Yield the last line where nothing ended it. A final LF begins no line."""
        if not self._started:
            held = bytes(self._pending)
            self._hold(held[self._skip_mark(held) :])
        if self._size:
            yield self._released(ended=False)

    def _block_end(self, chunk: bytes | bytearray, start: int, last: int) -> int:
        """Return where a block ends, behind an LF."""
        end = start + self.block_bytes
        if end >= last:
            return last
        return chunk.rfind(b"\n", start, end) + 1 or chunk.find(b"\n", end) + 1

    def _skip_mark(self, chunk: bytes | bytearray) -> int:
        self._started = True
        self._pending.clear()
        self.byte_order_mark = chunk.startswith(BYTE_ORDER_MARK)
        return len(BYTE_ORDER_MARK) if self.byte_order_mark else 0

    def _hold(self, piece: bytes | bytearray) -> None:
        self._size += len(piece)
        if piece:
            self._ends_with_cr = piece.endswith(b"\r")
        # One byte more than the bound: it may be the CR of the ending.
        if self._size <= self._max + 1:
            self._pending += piece
        else:
            self._pending.clear()

    def _released(self, *, ended: bool) -> Block | LongLine:
        """Return the pending line, and forget it."""
        crlf = ended and self._ends_with_cr
        kept = (
            Block(bytes(self._pending), ended=ended)
            if self._size <= self._max + 1
            else LongLine(self._size - crlf, crlf)
        )
        self._pending.clear()
        self._size, self._ends_with_cr = 0, False
        return kept


def lines_of(block: Block | LongLine, first_number: int, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Yield the lines of a block. A CR before an LF belongs to the ending."""
    if isinstance(block, LongLine):
        yield Line(first_number, None, block.size, block.crlf)
        return
    for index, body in enumerate(block.lines):
        yield line_of(body, first_number + index, max_line_bytes, ended=block.ended or index < len(block.lines) - 1)


def line_of(body: bytes, number: int, max_line_bytes: int = MAX_LINE_BYTES, *, ended: bool = True) -> Line:
    """Return a line, given what stands before its LF; not ``ended``: before the end of the file."""
    crlf = ended and body.endswith(b"\r")
    size = len(body) - crlf
    return Line(number, body[:size] if size <= max_line_bytes else None, size, crlf)


class LineSplitter:
    """Cuts chunks into numbered lines, as ``BlockCutter`` and ``lines_of`` do."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._cutter = BlockCutter(max_line_bytes)
        self._number = 1

    @property
    def byte_order_mark(self) -> bool:
        """Return whether the first bytes were one."""
        return self._cutter.byte_order_mark

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in this chunk. Consume it whole before the next call."""
        return self._numbered(self._cutter.feed(chunk))

    def finish(self) -> Iterator[Line]:
        """Yield the last line where nothing ended it. A final LF begins no line."""
        return self._numbered(self._cutter.finish())

    def _numbered(self, blocks: Iterator[Block | LongLine]) -> Iterator[Line]:
        for block in blocks:
            for line in lines_of(block, self._number, self._max):
                self._number += 1
                yield line
