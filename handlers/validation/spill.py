"""Rows of numbers put aside on disk, part by part, each part in the order its rows came."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

#: Shape (rows, columns).
Rows = NDArray[np.int64]

#: A part's number fits a byte. numpy sorts such small numbers by radix, many times faster than large ones.
PartNumbers = NDArray[np.uint8]

#: So many files are open at a time.
MAX_PARTS = 256


class Part(NamedTuple):
    """A file of rows."""

    number: int
    path: Path
    rows: int


class Spill:
    """Files ``<name>-<part number>`` in a directory, made where a part has rows. A context manager that closes them."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._files: dict[int, BinaryIO] = {}
        self._rows: dict[int, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def put(self, rows: Rows, parts: PartNumbers) -> None:
        """Append each row to its part. Blocks. Raises OSError where the disk is full."""
        rows = rows[np.argsort(parts, kind="stable")]
        counts = np.bincount(parts)
        ends = np.cumsum(counts).tolist()
        for part in np.flatnonzero(counts).tolist():
            mine = rows[ends[part] - counts[part] : ends[part]]
            self._file(part).write(mine.data)
            self._rows[part] = self._rows.get(part, 0) + len(mine)

    def close(self) -> list[Part]:
        """Close the files and return the parts that have rows, by number."""
        self._stack.close()
        return [Part(part, self._path(part), self._rows[part]) for part in sorted(self._rows)]

    def _path(self, part: int) -> Path:
        return self._directory / f"{self._name}-{part}"

    def _file(self, part: int) -> BinaryIO:
        if part not in self._files:
            self._files[part] = self._stack.enter_context(self._path(part).open("wb"))
        return self._files[part]


def read_rows(path: Path, columns: int, at_once: int) -> Iterator[Rows]:
    """Yield a file's rows, ``at_once`` at a time. Blocks."""
    with path.open("rb") as file:
        while chunk := file.read(at_once * columns * 8):
            yield np.frombuffer(chunk, dtype=np.int64).reshape(-1, columns)
