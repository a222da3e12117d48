"""The hyperparameters of a plan, typed, and the arithmetic of steps that follows from them."""

from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from handlers.planning.plan import Plan
from handlers.planning.steps import steps_an_epoch
from worker.trainer.failures import platforms_fault, users_fault


class Share(NamedTuple):
    """What one process does of a step: so many batches of so many rows."""

    batch_size: int
    accumulation: int


class Hyperparameters(Struct, frozen=True, kw_only=True):
    """What may be set. ``max_steps`` 0: as many as the epochs take; else so many, whatever ``epochs`` says.

    ``learning_rate`` falls linearly after warm-up.

    ``batch_size`` is of all processes together: of rows of the context for pretrain, of samples for the others.
    ``merge`` leaves an adapter with its base as one model, too; ``gguf`` a whole model as one GGUF file. For what the
    last five mean, see the recipes of preference and ranking.
    """

    epochs: int = 1
    learning_rate: float = 1e-4
    batch_size: int = 1
    gradient_accumulation: int = 1
    max_steps: int = 0
    warmup_ratio: float = 0.0
    checkpoint_steps: int = 100
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.0
    merge: bool = False
    gguf: Literal["off", "f16", "bf16", "f32"] = "off"
    pairs: Literal["best-worst", "all"] = "best-worst"
    beta: float = 0.1
    sft_weight: float = 1.0
    temperature: float = 0.05
    in_batch_negatives: bool = True

    def share(self, processes: int, *, whole_batches: bool) -> "Share":
        """Return what each process does of a step, so that all of them together do what one alone would.

        ``whole_batches``: the samples of a batch need each other, so a batch is shared by all. Raises JobError where a
        step cannot be shared evenly.
        """
        if self.batch_size % processes == 0:
            return Share(self.batch_size // processes, self.gradient_accumulation)
        own, left = divmod(self.batch_size * self.gradient_accumulation, processes)
        if whole_batches or left:
            what = "batch_size" if whole_batches else "batch_size x gradient_accumulation"
            number = self.batch_size * (1 if whole_batches else self.gradient_accumulation)
            raise users_fault(
                "batch-not-divisible",
                f"{what} is {number}, which cannot be shared by {processes} GPUs; choose a multiple of {processes}",
            )
        batch = max(size for size in range(1, self.batch_size + 1) if own % size == 0)
        return Share(batch, own // batch)

    def total_steps(self, rows: int) -> int:
        """Return the optimizer steps of a run over so many rows an epoch."""
        rows_a_step = self.batch_size * self.gradient_accumulation
        return self.max_steps or self.epochs * steps_an_epoch(rows, rows_a_step)

    def save_steps(self, total_steps: int, output_count: int) -> int:
        """Return the steps between two checkpoints: never so many that fewer than ``output_count`` come about."""
        return max(1, min(self.checkpoint_steps, total_steps // output_count))


def hyperparameters_of(plan: Plan) -> Hyperparameters:
    """Return the plan's hyperparameters. Raises JobError where they are not what was registered for the model."""
    try:
        return msgspec.convert(plan.hyperparameters, Hyperparameters, strict=False)
    except msgspec.ValidationError as error:
        raise platforms_fault("plan-unusable", f"the plan's hyperparameters: {error}", retryable=False) from error
