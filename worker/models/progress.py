"""How far a long reading is, on stderr: nothing for what is done in a moment, a line now and then for the rest."""

import sys
from time import monotonic

#: Seconds before anything is said, and between two lines that nobody overwrites.
PATIENCE_SECONDS = 2.0
_TERMINAL_SECONDS, _PIPE_SECONDS = 0.2, 10.0


class Progress:
    """Says what share of so many bytes has been read. On a terminal a line replaces the one before."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._began = self._said = monotonic()
        self._doing, self._total, self._done = "", 0, 0
        self._open = False

    def begin(self, doing: str, total_bytes: int) -> None:
        """Begin a stretch of so many bytes; ``doing`` is what people are told of it."""
        self._doing, self._total, self._done = doing, total_bytes, 0

    def advance(self, name: str, size: int) -> None:
        """Say that the next bytes of a file were read."""
        self._done += size
        now = monotonic()
        if now - self._began < PATIENCE_SECONDS:
            return
        if now - self._said >= (_TERMINAL_SECONDS if self._terminal else _PIPE_SECONDS):
            self._said = now
            share = f"{self._done / self._total:.0%}" if self._total else "0 %"
            self._write(f"{self._doing}: {share} of {self._total / 1e6:,.0f} MB, {name}")

    def note(self, text: str) -> None:
        """Say what takes its time and has no bytes to count."""
        self.end()
        sys.stderr.write(text + "\n")

    def end(self) -> None:
        """Leave the line that was being overwritten."""
        if self._open:
            sys.stderr.write("\r\x1b[K")
            self._open = False
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}" if self._terminal else text + "\n")
        self._open = self._terminal
        sys.stderr.flush()
