"""Writing the rows of a file's samples while their tokens are counted: what the draw reads instead of the file."""

from collections.abc import Iterator
from typing import BinaryIO

from contracts.dataset import Format
from handlers.planning.sample_rows import NO_CONTENT, ROW, State, content_digest
from worker.tokens.encoder import EncodedSample
from worker.tokens.samples import Sample


class SampleTable:
    """A row for every sample and every invalid line, in the order of lines. ``invalid`` are rising lines (from 1)."""

    def __init__(self, rows: BinaryIO, format: Format, invalid: Iterator[int]) -> None:
        self._rows, self._format = rows, format
        self._invalid = invalid
        self._next_invalid = next(invalid, None)

    def add(self, sample: Sample, encoded: EncodedSample, *, kept: bool) -> None:
        """Write the row of a valid sample; those of invalid lines before it come first. Blocks. Raises OSError."""
        self._write_invalid(sample.line)
        content = content_digest(self._format, sample.data)
        state = State.KEPT if kept else State.TOO_LONG
        self._rows.write(ROW.pack(content, sample.line, encoded.total, encoded.total_of_extremes, state))

    def finish(self) -> None:
        """Write the rows of the invalid lines behind the last sample. Blocks. Raises OSError."""
        self._write_invalid(None)

    def _write_invalid(self, before: int | None) -> None:
        while (line := self._next_invalid) is not None and (before is None or line < before):
            self._rows.write(ROW.pack(NO_CONTENT, line, 0, 0, State.INVALID))
            self._next_invalid = next(self._invalid, None)
