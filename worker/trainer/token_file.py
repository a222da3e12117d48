"""Encoded samples on disk: a dataset of gigabytes takes no more memory than a small one.

A sample is one or more sequences of tokens. Places of sequences and samples are in files, too, so that every process of
a job maps what one of them wrote.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from worker.tokens.encoder import EncodedSequence

_IDS, _WEIGHTS, _MARKS = "tokens.ids", "tokens.weights", "tokens.marks"
#: Where each sequence ends, in tokens, and each sample, in sequences.
_ENDS, _SAMPLES = "tokens.ends", "tokens.samples"


class Tokens(NamedTuple):
    """One sequence: token ids and their loss weights, of equal length."""

    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


class Row(NamedTuple):
    """What is trained on together. ``marks`` is a number a sequence, whose meaning is the recipe's.

    ``first`` is the number of the first sequence in the file; the others follow it.
    """

    sequences: tuple[Tokens, ...]
    marks: npt.NDArray[np.int32]
    first: int = 0


class TokenFile:
    """Writes samples one after another. Loss weights are kept as 32-bit floats. Use as ``with``."""

    def __init__(self, folder: Path) -> None:
        names = (_IDS, _WEIGHTS, _MARKS, _ENDS, _SAMPLES)
        self._files: dict[str, IO[bytes]] = {name: (folder / name).open("wb") for name in names}
        self._tokens = self._sequences = self._samples = 0

    def append(self, sequences: Sequence[EncodedSequence], marks: Sequence[int] = ()) -> int:
        """Write a sample and return its number. ``marks``: one a sequence; without, all are 0."""
        for sequence in sequences:
            self._write(_IDS, sequence.ids, np.int32)
            self._write(_WEIGHTS, sequence.weights, np.float32)
            self._tokens += len(sequence.ids)
            self._write(_ENDS, [self._tokens], np.int64)
        self._write(_MARKS, marks or [0] * len(sequences), np.int32)
        self._sequences += len(sequences)
        self._write(_SAMPLES, [self._sequences], np.int64)
        self._samples += 1
        return self._samples - 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, name: str, values: Sequence[int] | Sequence[float], kind: Any) -> None:
        self._files[name].write(np.asarray(values, kind).tobytes())


class TokenReader:
    """Reads at random what a TokenFile wrote into a folder."""

    def __init__(self, folder: Path) -> None:
        self._ids, self._weights = _mapped(folder / _IDS, np.int32), _mapped(folder / _WEIGHTS, np.float32)
        self._marks = _mapped(folder / _MARKS, np.int32)
        self._ends, self._samples = _mapped(folder / _ENDS, np.int64), _mapped(folder / _SAMPLES, np.int64)

    @property
    def sequences(self) -> int:
        """Return the number of sequences, over all samples."""
        return len(self._ends)

    @property
    def longest_sample(self) -> int:
        """Return the most sequences that a sample has."""
        return int(np.diff(self._samples, prepend=0).max(initial=0))

    def length(self, sequence: int) -> int:
        """Return the number of tokens of a sequence."""
        return int(self._ends[sequence]) - self._start(sequence)

    def tokens(self, sequence: int, start: int = 0, end: int | None = None) -> Tokens:
        """Return the tokens [start, end) of a sequence; all of them where no end is given."""
        first = self._start(sequence)
        place = slice(first + start, int(self._ends[sequence]) if end is None else first + end)
        return Tokens(self._ids[place], self._weights[place])

    def sample(self, number: int) -> Row:
        """Return all sequences of a sample."""
        first, end = int(self._samples[number - 1]) if number else 0, int(self._samples[number])
        return Row(tuple(self.tokens(sequence) for sequence in range(first, end)), self._marks[first:end], first)

    def _start(self, sequence: int) -> int:
        return int(self._ends[sequence - 1]) if sequence else 0


class Samples:
    """The samples of a reader, in an order, with repetitions: a sequence of rows."""

    def __init__(self, reader: TokenReader, order: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self._reader, self._order = reader, order

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Row:
        return self._reader.sample(int(self._order[index]))


def save_order(path: Path, order: Sequence[int]) -> None:
    """Write an order of samples into a file."""
    path.write_bytes(np.asarray(order, np.int64).tobytes())


def load_order(path: Path) -> npt.NDArray[np.int64]:
    """Return the order that was saved, without reading it into memory."""
    return _mapped(path, np.int64)


def _mapped(path: Path, kind: Any) -> npt.NDArray[Any]:
    # An empty file cannot be mapped.
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)
