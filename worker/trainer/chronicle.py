"""What happens between two steps: progress is said, checkpoints leave the machine, orders are obeyed."""

# ruff: noqa: ARG002 - the Trainer decides what its callbacks are given

import math
import shutil
from pathlib import Path
from typing import Any

import structlog
import torch
from msgspec.structs import replace
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from contracts.task import Progress
from contracts.training import Checkpoint
from handlers.ports.jobs import JobSpec
from worker.trainer import checkpoints, collective
from worker.trainer.bucket import Bucket
from worker.trainer.checkpoints import Kept
from worker.trainer.failures import users_fault
from worker.trainer.fence import Fence, Standing
from worker.trainer.metrics import Meter
from worker.trainer.progress import Reporter
from worker.trainer.validation import Validation

log = structlog.get_logger()


class Chronicle(TrainerCallback):
    """Follows one run, in every process of it; only the first has anybody to say it to.

    After training: ``history`` is every checkpoint that could become an output, ``progress`` the last thing known,
    ``checkpoint`` the newest checkpoint, and ``interrupted`` whether training ended before its last step.
    """

    def __init__(
        self,
        *,
        spec: JobSpec,
        bucket: Bucket,
        fence: Fence,
        reporter: Reporter,
        base: str,
        meter: Meter,
        validation: Validation,
        history: tuple[Kept, ...],
    ) -> None:
        self._spec, self._bucket, self._fence, self._reporter = spec, bucket, fence, reporter
        self._base, self._meter, self._validation = base, meter, validation
        self.history = history
        self.progress: Progress | None = None
        self.checkpoint: Checkpoint | None = None
        self.interrupted = False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._meter.begin(state.global_step)
        log.info("training.started", step=state.global_step, total_steps=state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Obey: end at once where superseded, save and end where told to stop."""
        self._fence.check()
        told = self._fence.standing in (Standing.STOP, Standing.BLIND)
        # What one process is told, all must obey, at the same step.
        told = bool(collective.summed(torch.tensor([int(told)]), args.device).item())
        if told and state.global_step < state.max_steps:
            log.info("training.interrupted", step=state.global_step, standing=self._fence.standing.value)
            self.interrupted = control.should_save = control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Say how far training is. Raises JobError where the loss is no number any more."""
        del state.log_history[:-1]  # it would be written with every checkpoint, ever longer
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise users_fault(
                "loss-diverged",
                f"the loss is {logs['loss']} at step {state.global_step}; lower learning_rate or raise warmup_ratio",
            )
        self.progress = self._progress_at(state, logs)
        self._reporter.running(self.progress)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **_: Any,
    ) -> None:
        """Store the checkpoint that was just written, then announce it."""
        assert model is not None
        assert args.output_dir is not None
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        # A stop has little time; a checkpoint without it can still be gone on from.
        loss = None if self.interrupted else self._validation.loss(model)
        if collective.rank():
            return
        prefix = f"{self._spec.attempt_prefix}checkpoints/step-{state.global_step}/"
        kept = Kept(
            step=state.global_step,
            prefix=prefix,
            loss=self.progress.loss if self.progress else None,
            validation_loss=loss,
            trained_tokens=self._meter.trained_tokens,
        )
        checkpoints.tidy(folder, self._base)
        checkpoints.upload(self._bucket, folder, kept, self.history)
        shutil.rmtree(folder)
        self.history = (*self.history, kept)
        self.checkpoint = Checkpoint(step=kept.step, uri=self._bucket.uri(prefix), trained_tokens=kept.trained_tokens)
        log.info("checkpoint.stored", step=kept.step, validation_loss=loss)
        self._reporter.saved(self._validated(loss), self.checkpoint)

    def _validated(self, loss: float | None) -> Progress | None:
        if self.progress is not None and loss is not None:
            self.progress = replace(self.progress, validation_loss=loss)
        return self.progress

    def _progress_at(self, state: TrainerState, logs: dict[str, float]) -> Progress:
        return Progress(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=state.epoch,
            loss=logs["loss"],
            learning_rate=logs.get("learning_rate"),
            gradient_norm=logs.get("grad_norm"),
            **self._meter.read(state.global_step, state.max_steps),
        )
