"""What is particular to a format, and nothing else: which tokens are kept, which model, which loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from handlers.planning.plan import Plan
from worker.tokens.encoder import EncodedSample, EncodedSequence
from worker.trainer.hyperparameters import Hyperparameters
from worker.trainer.ranks import Rank
from worker.trainer.token_file import Row, Samples, TokenReader

#: Tensors of one batch. In every one: ``items`` (1), how many the loss is a mean of, and ``work`` (2), how many tokens
#: the model sees, without padding, and the sum of the squares of their sequences' lengths.
Batch = dict[str, torch.Tensor]


class Kept(NamedTuple):
    """What of a sample is trained on: sequences in the order the recipe wants them, and a number for each, or none."""

    sequences: Sequence[EncodedSequence]
    marks: Sequence[int] = ()


class Beginning(NamedTuple):
    """What a recipe can prepare itself with.

    Samples, the numbers of those that are used, a folder for what it makes of them, and, where training goes on, the
    checkpoint's folder. ``check`` is to be called again and again, and may raise. The processes of a machine have one
    folder.
    """

    reader: TokenReader
    used: npt.NDArray[np.int64]
    scratch: Path
    resumed: Path | None
    check: Callable[[], None]
    rank: Rank = Rank()


class Rows(Protocol):
    """What is trained on, row by row: a batch is made of rows."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, index: int) -> Row:
        """Return one row."""
        ...


class Recipe(ABC):
    """How one format is trained.

    The loss of a step is the sum of ``loss`` over all its batches, in all processes, divided by all their items. So
    accumulated and distributed batches give what one great batch would.

    ``model`` is there after ``load``. ``causal``: its tokens see only those before them. ``whole_batches``: the rows of
    a batch need each other.
    """

    model: Any
    causal = True
    whole_batches = False

    def __init__(self, plan: Plan, chosen: Hyperparameters) -> None:
        self.plan, self.chosen = plan, chosen

    def kept(self, data: Mapping[str, Any], encoded: EncodedSample) -> Kept:
        """Return what is trained on of a valid sample: all of it, unless a recipe says otherwise. Pure."""
        del data
        return Kept(encoded.sequences)

    def rows(self, reader: TokenReader, order: npt.NDArray[np.int64]) -> Rows:
        """Return the rows that samples in this order make: a row a sample, unless a recipe says otherwise."""
        return Samples(reader, order)

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Load the base model from local files, with a fresh adapter where one is trained. The same every time."""

    def prepare(self, beginning: Beginning) -> None:
        """Do what comes between loading the base and the first step: nothing, unless a recipe says otherwise."""
        del beginning

    @abstractmethod
    def collate(self, rows: Sequence[Row]) -> Batch:
        """Return rows as one batch. Pure."""

    @abstractmethod
    def loss(self, model: Any, batch: Batch) -> torch.Tensor:
        """Return the sum of the losses of a batch's items. ``model`` is ours, or what wraps it; called once."""

    def save(self, folder: Path) -> None:
        """Write what is trained into a folder, as the libraries load it."""
        self.model.save_pretrained(folder)

    def restore(self, folder: Path) -> bool:
        """Put the weights that ``save`` wrote into the model; return False to leave it to the Trainer."""
        del folder
        return False
