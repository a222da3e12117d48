"""What the base model says of answers, without a second model in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file

from worker.trainer import collective
from worker.trainer.recipes.recipe import Batch, Beginning

#: In a checkpoint: what was computed once need not be computed again by whoever goes on.
FILE = "reference.safetensors"
_NAME = "log_probabilities"

#: Says the log-probability (sequences) of each answer of a batch.
Says = Callable[[Batch], torch.Tensor]


class Reference(Protocol):
    """The base model's log-probabilities of answers."""

    def of(self, batch: Batch) -> torch.Tensor:
        """Return those (sequences) of a batch's answers, without a gradient."""
        ...

    def save(self, folder: Path) -> None:
        """Write into a checkpoint's folder what going on from it needs."""
        ...


class AdapterReference:
    """The model itself with its adapter switched off, asked at every batch."""

    def __init__(self, model: Any, says: Says) -> None:
        self._model, self._says = model, says

    def of(self, batch: Batch) -> torch.Tensor:
        """Return the base's log-probabilities. Changes nothing: no mode, no random number generator."""
        with self._model.disable_adapter(), evaluated(self._model):
            return self._says(batch)

    def save(self, folder: Path) -> None:
        """Write nothing: the base is always at hand."""


class StoredReference:
    """All log-probabilities, computed once, in a file: one float a sequence, by its number."""

    def __init__(self, values: npt.NDArray[np.float32]) -> None:
        self._values = values

    def of(self, batch: Batch) -> torch.Tensor:
        """Return the base's log-probabilities."""
        numbers = batch["numbers"]
        return torch.from_numpy(self._values[numbers.cpu().numpy()]).to(numbers.device)

    def save(self, folder: Path) -> None:
        """Write all of it."""
        save_file({_NAME: np.ascontiguousarray(self._values)}, folder / FILE)


def stored_reference(beginning: Beginning, model: Any, batches: Iterator[Batch], says: Says) -> StoredReference:
    """Return what the model says now of every sequence in the batches, or what the checkpoint says it said.

    The processes of a machine share the work, and one file.
    """
    if beginning.resumed is not None:
        return StoredReference(load_file(beginning.resumed / FILE)[_NAME])
    path, shape, rank = beginning.scratch / "reference", (beginning.reader.sequences,), beginning.rank
    if rank.first_here:
        np.memmap(path, np.float32, "w+", shape=shape)
    collective.meet()
    values = np.memmap(path, np.float32, "r+", shape=shape)
    with evaluated(model):
        for number, batch in enumerate(batches):
            if number % rank.here == rank.local:
                beginning.check()
                values[batch["numbers"].numpy()] = says(batch).float().cpu().numpy()
    values.flush()
    collective.meet()
    return StoredReference(values)


@contextmanager
def evaluated(model: Any) -> Iterator[None]:
    """Switch off dropout and gradients for a while."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
