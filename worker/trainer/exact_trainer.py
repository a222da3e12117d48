"""The Trainer of transformers, with the loss of a recipe: exact over accumulated and distributed batches."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from worker.trainer import collective
from worker.trainer.checkpoints import OPTIMIZER, RANDOM_STATE, SCHEDULE
from worker.trainer.dataset import EpochSampler
from worker.trainer.metrics import Work
from worker.trainer.random_state import random_state, restore_random_state
from worker.trainer.recipes import Recipe
from worker.trainer.recipes.recipe import Batch, Rows
from worker.trainer.safe_tree import load_tree, save_tree


class _Epochs(TrainerCallback):
    """Tells the sampler which epoch it is: a loader does not, where it goes on in the middle of one."""

    def __init__(self, sampler: EpochSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        del args, control
        self._sampler.set_epoch(int(state.epoch or 0))


class ExactTrainer(Trainer):
    """loss = sum of a recipe's losses / number of items, over all batches of a step in all processes.

    ``work`` counts what all processes together have been given to train on.
    """

    def __init__(self, recipe: Recipe, rows: Rows, sampler: EpochSampler, work: Work, **arguments: Any) -> None:
        super().__init__(model=recipe.model, train_dataset=rows, data_collator=recipe.collate, **arguments)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Epochs(sampler))
        self._recipe, self._rows, self._sampler, self._work = recipe, rows, sampler, work
        # The loss is the batch's part of the whole step's: nothing is to be divided by the number of batches.
        self.loss_is_scaled_for_ga = True

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor]:
        """Return the batches of a step, and the number of items in all processes' batches of this step."""
        batches = list(islice(epoch_iterator, num_batches))
        own = torch.stack([torch.cat([batch["items"], batch["work"]]) for batch in batches]).sum(0)
        total = collective.summed(own, device)
        self._work.tokens += int(total[1])
        self._work.squares += int(total[2])
        return batches, total[0]

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch, as its part of the whole step's."""
        del return_outputs
        assert num_items_in_batch is not None
        # A step without an item trains nothing. The gradients of the processes are averaged: each is that of the whole
        # step, times the processes.
        return self._recipe.loss(model, inputs) / max(int(num_items_in_batch), 1) * collective.size()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches of an epoch, in our order."""
        rows: Any = self._rows
        loader: DataLoader[Any] = DataLoader(
            rows,
            batch_size=self.args.per_device_train_batch_size,
            sampler=self._sampler,
            collate_fn=self._recipe.collate,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    # What theirs writes here are pickles; ours never leave a checkpoint that has to be trusted.

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write what is trained."""
        del state_dict
        assert output_dir is not None
        if self.args.should_save:
            self._recipe.save(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if not self._recipe.restore(Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.args.should_save:
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            save_tree(self.optimizer.state_dict(), Path(output_dir) / OPTIMIZER)
            save_tree(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            assert self.optimizer is not None
            assert self.lr_scheduler is not None
            self.optimizer.load_state_dict(load_tree(Path(checkpoint) / OPTIMIZER))
            self.lr_scheduler.load_state_dict(load_tree(Path(checkpoint) / SCHEDULE))

    def _save_rng_state(self, output_dir: str) -> None:
        for number, state in enumerate(collective.to_first(random_state(self.args.device))):
            save_tree(state, Path(output_dir) / RANDOM_STATE.format(number))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        path = Path(checkpoint) / RANDOM_STATE.format(collective.rank())
        # Of a process that there was not before there is none.
        if path.with_suffix(".json").exists():
            restore_random_state(load_tree(path), self.args.device)
