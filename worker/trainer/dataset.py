"""The training and the validation set, as the plan says: exactly its samples, as often as it says, in its order."""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import structlog
from torch.utils.data import Sampler

from handlers.planning.build import selection_of
from handlers.planning.epoch_order import EpochOrder
from handlers.planning.marking import Mark
from handlers.planning.plan import Plan, PlannedDataset
from handlers.ports.store import ObjectStore
from worker.tokens.batching import batches, encode_batch
from worker.tokens.encoder import EncodedSample, SampleEncoder
from worker.trainer.failures import platforms_fault, users_fault
from worker.trainer.planned_fates import (
    PlannedFile,
    PlannedLine,
    counted_marks,
    datasets_of,
    fate_table,
    planned_files,
    planned_samples,
)
from worker.trainer.recipes import Recipe
from worker.trainer.token_file import TokenFile, TokenReader, load_order, save_order

log = structlog.get_logger()


#: Files of the orders, beside the tokens.
_TRAINING, _VALIDATION = "training.order", "validation.order"

#: Places of an order that are numbers of Python's at a time.
_BLOCK = 4096


class Datasets(NamedTuple):
    """What a job trains and validates on: samples of ``reader``, by their numbers. Nothing of it is in memory."""

    reader: TokenReader
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]

    def used(self) -> npt.NDArray[np.int64]:
        """Return the samples that are looked at at all, each once, rising."""
        return np.unique(np.concatenate([self.training, self.validation]))


async def build_datasets(
    store: ObjectStore,
    plan: Plan,
    encoder: SampleEncoder,
    recipe: Recipe,
    folder: Path,
    check: Callable[[], None],
) -> None:
    """Read and encode exactly the samples that the plan trains on, in its order, into files in ``folder``.

    Deterministic. Neither the datasets nor their tokens are ever in memory. ``check`` is called again and again, and
    may raise.

    Raises:
        JobError: nothing is left to train on, a dataset is gone, or a sample is not what the plan says it is.
        ChatTemplateError, UnreadableSample, PreconditionFailed: see the reader and the encoder.
    """
    try:
        table = await fate_table(store, plan, encoder, folder, check)
        with TokenFile(folder) as file:
            builder = _Builder(store, plan, encoder, recipe, file)
            for planned in planned_files(table, builder.selection):
                await builder.add(planned, check)
    except FileNotFoundError as error:
        raise users_fault("dataset-gone", f"a file of the dataset is gone: {error}") from error
    builder.finish(folder, table)


def open_datasets(folder: Path) -> Datasets:
    """Return what was built in a folder, by this process or another one."""
    return Datasets(TokenReader(folder), load_order(folder / _TRAINING), load_order(folder / _VALIDATION))


class _Builder:
    def __init__(self, store: ObjectStore, plan: Plan, encoder: SampleEncoder, recipe: Recipe, file: TokenFile) -> None:
        self._store, self._plan, self._encoder, self._recipe, self._file = store, plan, encoder, recipe, file
        self._datasets = datasets_of(plan)
        self.selection = selection_of(plan, plan.hyperparameters)
        self._training, self._validation = array("q"), array("q")
        #: Of the dataset that is read: its samples, and how often each is trained on.
        self._source, self._numbers, self._times = -1, array("q"), array("q")

    async def add(self, planned: PlannedFile, check: Callable[[], None]) -> None:
        if planned.source != self._source:
            self._end_dataset()
            self._source = planned.source
        dataset, taken = self._datasets[planned.source], deque[PlannedLine]()
        async for batch in batches(planned_samples(self._store, dataset, planned, taken)):
            check()
            encoded_batch = encode_batch(
                self._encoder, self._plan.format, batch, context_length=self._plan.context_length
            )
            for sample, encoded in zip(batch, encoded_batch, strict=True):
                line = taken.popleft()
                self._compare(dataset, line, encoded, sample.file)
                number = self._file.append(*self._recipe.kept(sample.data, encoded))
                if line.held_out:
                    self._validation.append(number)
                else:
                    self._numbers.append(number)
                    self._times.append(line.times)

    def _compare(self, dataset: PlannedDataset, line: PlannedLine, encoded: EncodedSample, file: int) -> None:
        """Make sure that what is trained on is what was planned, and is billed."""
        tokens = encoded.total_of_extremes if self.selection.extremes else encoded.total
        if tokens != line.tokens:
            where = f"{dataset.dataset_id}: file {file}, line {line.line}"
            message = f"{where}: {tokens} tokens here, {line.tokens} in the plan"
            raise platforms_fault("plan-differs", message, retryable=False)

    def _end_dataset(self) -> None:
        """Put the dataset's samples into the order: whole passes first, then the part that is drawn once more."""
        numbers, times = np.asarray(self._numbers), np.asarray(self._times)
        for done in range(int(times.max(initial=0))):
            self._training.frombytes(numbers[times > done].tobytes())
        self._numbers, self._times = array("q"), array("q")

    def finish(self, folder: Path, table: Path) -> None:
        self._end_dataset()
        if not self._training:
            counts = counted_marks(table, self.selection)
            raise users_fault(
                "nothing-to-train",
                f"no sample is left to train on: {counts[Mark.TOO_LONG]} are longer than the context of "
                f"{self._plan.context_length} tokens, {counts[Mark.INVALID]} are invalid, {counts[Mark.VALIDATION]} "
                f"went to validation, {counts[Mark.LEAK]} are the same as one of these",
            )
        save_order(folder / _TRAINING, self._training)
        save_order(folder / _VALIDATION, self._validation)
        log.info("data.ready", training=len(self._training), validation=len(self._validation))


class EpochSampler(Sampler[int]):
    """Every row once an epoch, in an order that follows from the seed and the epoch alone."""

    def __init__(self, size: int, seed: int, *, shuffle: bool) -> None:
        self._size, self._seed, self._shuffle = size, seed, shuffle
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration has."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        order = EpochOrder(self._size, self._seed, self._epoch, in_order=not self._shuffle).all()
        blocks = (order[start : start + _BLOCK].tolist() for start in range(0, self._size, _BLOCK))
        return (index for block in blocks for index in block)
