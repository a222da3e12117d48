"""Rows by hand, and the gradient that one step of the trainer applies to them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import TrainingArguments

from worker.tokens.encoder import EncodedSequence, Trained
from worker.trainer.dataset import EpochSampler
from worker.trainer.exact_trainer import ExactTrainer
from worker.trainer.metrics import Work
from worker.trainer.recipes import Recipe
from worker.trainer.token_file import Row, Tokens


def sequence(ids: list[int], weights: list[float] | None = None) -> EncodedSequence:
    """Return a sequence with these weights; without, every token but the first has the weight 1."""
    weights = [0.0, *[1.0] * (len(ids) - 1)] if weights is None else weights
    stretches = (Trained(index, index + 1, weight) for index, weight in enumerate(weights) if weight > 0)
    return EncodedSequence(ids, tuple(stretches))


def row(*sequences: EncodedSequence, marks: Sequence[int] | None = None, first: int = 0) -> Row:
    """Return a row as a TokenReader gives it."""
    tokens = tuple(Tokens(np.array(each.ids, np.int32), np.array(each.weights, np.float32)) for each in sequences)
    return Row(tokens, np.array(marks or [0] * len(sequences), np.int32), first)


def applied(
    recipe: Recipe, rows: list[Row], folder: Path, batch_size: int, accumulation: int = 1
) -> dict[str, torch.Tensor]:
    """Return what one step takes off each trained weight at a learning rate of 1: the gradient, as it is applied."""
    before = {name: weight.detach().clone() for name, weight in recipe.model.named_parameters()}
    trainer = ExactTrainer(
        recipe,
        rows,
        EpochSampler(len(rows), 0, shuffle=False),
        Work(),
        args=TrainingArguments(
            output_dir=str(folder / "run"),
            max_steps=1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            remove_unused_columns=False,
        ),
    )
    trainer.train()
    return {name: before[name] - weight.detach() for name, weight in recipe.model.named_parameters()}
