"""Encoded samples on disk: a dataset of gigabytes takes no more memory than a small one."""

from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from worker.tokens.encoder import EncodedSequence


class Tokens(NamedTuple):
    """One sample: token ids and their loss weights, of equal length."""

    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


class TokenFile:
    """Samples written one after another, then read at random. Loss weights are kept as 32-bit floats.

    Write inside ``with``, read after it.
    """

    def __init__(self, folder: Path) -> None:
        self._ids_path, self._weights_path = folder / "tokens.ids", folder / "tokens.weights"
        self._ids, self._weights = self._ids_path.open("wb"), self._weights_path.open("wb")
        self._ends = array("q", [0])

    def append(self, sample: EncodedSequence) -> int:
        """Write a sample of one sequence and return its number."""
        self._ids.write(array("i", sample.ids).tobytes())
        self._weights.write(array("f", sample.weights).tobytes())
        self._ends.append(self._ends[-1] + len(sample.ids))
        return len(self._ends) - 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ids.close()
        self._weights.close()

    def view(self, order: Sequence[int]) -> "TokenView":
        """Return these samples, in this order, with repetitions."""
        size = (self._ends[-1],)
        # An empty file cannot be mapped.
        ids = np.memmap(self._ids_path, np.int32, "r", shape=size) if size[0] else np.empty(0, np.int32)
        weights = np.memmap(self._weights_path, np.float32, "r", shape=size) if size[0] else np.empty(0, np.float32)
        return TokenView(ids, weights, self._ends, array("q", order))


class TokenView:
    """A sequence of samples of a TokenFile."""

    def __init__(
        self,
        ids: npt.NDArray[np.int32],
        weights: npt.NDArray[np.float32],
        ends: "array[int]",
        order: "array[int]",
    ) -> None:
        self._ids, self._weights, self._ends, self._order = ids, weights, ends, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Tokens:
        number = self._order[index]
        start, end = self._ends[number], self._ends[number + 1]
        return Tokens(self._ids[start:end], self._weights[start:end])
