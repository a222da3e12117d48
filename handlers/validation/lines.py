"""Bytes to lines, in memory bounded by one line."""

from collections.abc import Iterator
from typing import NamedTuple

#: Longer lines are reported and skipped; decoders and trainers hold a line in memory.
MAX_LINE_BYTES = 16 << 20

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line without its ending. ``body`` is None where it is longer than the bound; ``size`` is its length."""

    number: int
    body: bytes | None
    size: int
    crlf: bool = False


class LineSplitter:
    """Cuts chunks at LF. A CR before it belongs to the ending; a byte-order mark at the start is dropped.

    Holds at most ``max_line_bytes`` and a few bytes.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.byte_order_mark = False
        self._max = max_line_bytes
        self._number = 1
        self._pending = bytearray()
        self._size = 0  # Of the pending line; more than is held once it is too long.
        self._started = False
        self._ends_with_cr = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in this chunk. Consume it whole before the next call."""
        start = 0
        if not self._started:
            chunk = bytes(self._pending) + chunk
            if BYTE_ORDER_MARK.startswith(chunk):
                self._pending[:] = chunk
                return
            start = self._skip_mark(chunk)
        while (end := chunk.find(b"\n", start)) >= 0:
            yield self._line(chunk[start:end], ended=True)
            start = end + 1
        self._hold(chunk[start:])

    def finish(self) -> Iterator[Line]:
        """Yield the last line where nothing ended it. A final LF begins no line."""
        if not self._started:
            held = bytes(self._pending)
            self._hold(held[self._skip_mark(held) :])
        if self._size:
            yield self._line(b"", ended=False)

    def _skip_mark(self, chunk: bytes) -> int:
        self._started = True
        self._pending.clear()
        self.byte_order_mark = chunk.startswith(BYTE_ORDER_MARK)
        return len(BYTE_ORDER_MARK) if self.byte_order_mark else 0

    def _hold(self, piece: bytes) -> None:
        self._size += len(piece)
        if piece:
            self._ends_with_cr = piece.endswith(b"\r")
        # One byte more than the bound: it may be the CR of the ending.
        if self._size <= self._max + 1:
            self._pending += piece
        else:
            self._pending.clear()

    def _line(self, piece: bytes, *, ended: bool) -> Line:
        if not self._size:
            body, size, crlf = piece, len(piece), piece.endswith(b"\r")
        else:
            self._hold(piece)
            body, size, crlf = bytes(self._pending), self._size, self._ends_with_cr
        crlf = crlf and ended
        size -= crlf
        line = Line(self._number, body[:size] if size <= self._max else None, size, crlf)
        self._number += 1
        self._pending.clear()
        self._size = 0
        return line
