"""The training and the validation set: which samples, how often, in which order. All of it follows from the plan."""

import random
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import structlog
import torch
from torch.utils.data import Sampler

from contracts.dataset import CheckedFile
from handlers.planning.plan import Plan, PlannedDataset
from handlers.ports import ObjectStore
from worker.tokens.batching import batches, encode_batch
from worker.tokens.encoder import SampleEncoder
from worker.tokens.samples import Sample, invalid_lines, read_samples
from worker.trainer.failures import users_fault
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
    """Read, encode and split the plan's datasets, in the order of the plan, into files in ``folder``. Deterministic.

    Neither the datasets nor their tokens are ever in memory. ``check`` is called again and again, and may raise.

    Raises:
        JobError: nothing is left to train on, or a dataset is gone.
        ChatTemplateError, UnreadableSample, PreconditionFailed: see the reader and the encoder.
    """
    with TokenFile(folder) as file:
        builder = _Builder(plan, encoder, recipe, file)
        for planned in plan.training:
            await builder.add(store, planned, check, validation=False)
        for planned in plan.validation:
            await builder.add(store, planned, check, validation=True)
    builder.finish(folder)


def open_datasets(folder: Path) -> Datasets:
    """Return what was built in a folder, by this process or another one."""
    return Datasets(TokenReader(folder), load_order(folder / _TRAINING), load_order(folder / _VALIDATION))


class _Builder:
    def __init__(self, plan: Plan, encoder: SampleEncoder, recipe: Recipe, file: TokenFile) -> None:
        self._plan, self._encoder, self._recipe, self._file = plan, encoder, recipe, file
        self._training, self._validation = array("q"), array("q")
        self._too_long = 0

    async def add(
        self, store: ObjectStore, planned: PlannedDataset, check: Callable[[], None], *, validation: bool
    ) -> None:
        training = array("q")
        too_long = 0
        async for batch in _batches(store, planned.files, planned.findings_key):
            check()
            for sample, encoded in zip(batch, encode_batch(self._encoder, self._plan.format, batch), strict=True):
                if encoded.longest > self._plan.context_length and not encoded.packed:
                    too_long += 1
                    continue
                side = self._validation if validation or self._held_out(sample.data) else training
                side.append(self._file.append(*self._recipe.kept(sample.data, encoded)))
        self._too_long += too_long
        if planned.too_long not in {None, too_long}:
            # Never seen; the fee and the plan would be about other samples than those trained on.
            log.warning("dataset.counts_differ", dataset_id=planned.dataset_id, here=too_long, planned=planned.too_long)
        self._training += drawn(training, planned, self._plan.seed)

    def _held_out(self, data: dict[str, Any]) -> bool:
        percent = self._plan.validation_percent
        return percent is not None and held_out(data, self._plan.seed, percent)

    def finish(self, folder: Path) -> None:
        if not self._training:
            raise users_fault(
                "nothing-to-train",
                f"no sample is left to train on: {self._too_long} are longer than the context of "
                f"{self._plan.context_length} tokens, {len(self._validation)} went to validation",
            )
        save_order(folder / _TRAINING, self._training)
        save_order(folder / _VALIDATION, self._validation)
        log.info("data.ready", training=len(self._training), validation=len(self._validation), too_long=self._too_long)


async def _batches(
    store: ObjectStore, files: Sequence[CheckedFile], findings_key: str | None
) -> AsyncIterator[list[Sample]]:
    try:
        async for batch in batches(read_samples(store, files, await invalid_lines(store, findings_key))):
            yield batch
    except FileNotFoundError as error:
        raise users_fault("dataset-gone", f"a file of the dataset is gone: {error}") from error


def held_out(data: dict[str, Any], seed: int, percent: int) -> bool:
    """Return whether a sample is on the validation side. By content: duplicates are on one side, whatever the order."""
    content = msgspec.json.encode(data, order="sorted")
    number = int.from_bytes(sha256(f"{seed}/".encode() + content).digest()[:8], "big")
    return number % 10_000 < percent * 100


def drawn(samples: "array[int]", planned: PlannedDataset, seed: int) -> "array[int]":
    """Return the samples as often as the plan wants them: whole passes first, then a seeded part of another.

    ``sample_count`` beyond what there is repeats samples. Rounded half up. The same seed draws the same samples.
    """
    if not samples:
        return samples
    wanted = planned.sample_count
    if wanted is None:
        wanted = max(1, int(len(samples) * planned.multiplier + 0.5))
    passes, rest = divmod(wanted, len(samples))
    chosen = random.Random(f"{seed}/{planned.dataset_id}").sample(range(len(samples)), rest)  # noqa: S311 - a draw, no secret
    return samples * passes + array("q", (samples[index] for index in sorted(chosen)))


class EpochSampler(Sampler[int]):
    """Every sample once an epoch, in an order that follows from the seed and the epoch alone."""

    def __init__(self, size: int, seed: int, *, shuffle: bool) -> None:
        self._size, self._seed, self._shuffle = size, seed, shuffle
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration has."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        if not self._shuffle:
            return iter(range(self._size))
        generator = torch.Generator().manual_seed((self._seed + self._epoch) % 2**63)
        order = torch.randperm(self._size, generator=generator).numpy()
        blocks = (order[start : start + _BLOCK].tolist() for start in range(0, self._size, _BLOCK))
        return (index for block in blocks for index in block)
