"""Training itself: everything is loaded, trained from a checkpoint or from the beginning, and its outputs left."""

from pathlib import Path
from typing import Any

import structlog
import torch
from transformers import PrinterCallback, TrainingArguments, set_seed

from contracts.training import Output
from handlers.planning.plan import Plan
from handlers.ports import JobSpec
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import read_folder
from worker.trainer import checkpoints, outputs
from worker.trainer.bucket import Bucket
from worker.trainer.callback import Chronicle
from worker.trainer.checkpoints import Complete
from worker.trainer.dataset import Datasets, EpochSampler, build_datasets
from worker.trainer.fence import Fence, Interrupted, Standing
from worker.trainer.hyperparameters import Hyperparameters, hyperparameters_of
from worker.trainer.models import fetch_model, load_base, pad_id_of, with_adapter
from worker.trainer.progress import Reporter
from worker.trainer.validation import Validation
from worker.trainer.weighted import WeightedCollator, WeightedTrainer

log = structlog.get_logger()


def train(spec: JobSpec, plan: Plan, bucket: Bucket, fence: Fence, reporter: Reporter, scratch: Path) -> None:
    """Train a plan to its end and say that it succeeded.

    The same plan gives the same weights, to the bit on the same machine's CPU, however often it is interrupted.

    Raises:
        Interrupted: the fence said stop; a checkpoint is stored where training had begun.
        Superseded: another attempt counts.
        Exception: anything that failed; see failures.failure_of.
    """

    def go_on() -> None:
        fence.check()
        if fence.standing is not Standing.RUN:
            raise Interrupted(None)

    chosen = hyperparameters_of(plan)
    base_folder = scratch / "base"
    fetch_model(bucket, plan.base_prefix, base_folder)
    go_on()
    encoder = SampleEncoder(read_folder(base_folder))
    data = bucket.loop.run(build_datasets(bucket.store, plan, encoder, scratch, go_on))
    log.info("data.ready", training=len(data.training), validation=len(data.validation), too_long=data.too_long)
    resumed = _resumed(spec, bucket, scratch)
    go_on()
    run = _Run(plan, chosen, data, base_folder, scratch)
    chronicle = Chronicle(
        spec=spec,
        bucket=bucket,
        fence=fence,
        reporter=reporter,
        base=f"{plan.base_model}@{plan.base_version}",
        collator=run.collator,
        validation=Validation(data.validation, chosen.batch_size, run.collator.pad_id, chosen.precision == "bf16"),
        history=resumed.history if resumed else (),
    )
    run.train(chronicle, scratch / "resumed" if resumed else None, resumed.step if resumed else 0)
    if chronicle.interrupted:
        raise Interrupted(chronicle.checkpoint)
    left = _left(spec, plan, bucket, chronicle, base_folder)
    reporter.succeeded(chronicle.progress, left)


class _Run:
    """The model, its Trainer, and what they are made of."""

    def __init__(self, plan: Plan, chosen: Hyperparameters, data: Datasets, base_folder: Path, scratch: Path) -> None:
        self._data = data
        self._sampler = EpochSampler(len(data.training), plan.seed, shuffle=plan.shuffle == "random")
        self._total_steps = chosen.total_steps(len(data.training))
        self._arguments = _arguments(plan, chosen, self._total_steps, scratch)
        base = load_base(base_folder)
        self.collator = WeightedCollator(pad_id_of(base))
        seed = plan.seed % 2**32
        self._model: Any = with_adapter(base, chosen, seed) if plan.method == "LoRA" else base
        # What loading and adapting drew from the generators must not matter.
        set_seed(seed)

    def train(self, chronicle: Chronicle, resume_from: Path | None, step: int) -> None:
        """Train to the end, or until the chronicle says stop."""
        if step >= self._total_steps:
            return  # only its outputs were missing
        trainer = WeightedTrainer(
            sampler=self._sampler,
            model=self._model,
            args=self._arguments,
            data_collator=self.collator,
            train_dataset=self._data.training,
            callbacks=[chronicle],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


def _arguments(plan: Plan, chosen: Hyperparameters, total_steps: int, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch / "run"),
        max_steps=total_steps,
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=chosen.gradient_accumulation,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="linear",
        # Below 1 it is a share of all steps.
        warmup_steps=chosen.warmup_ratio,
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=chosen.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=plan.seed % 2**32,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=chosen.save_steps(total_steps, plan.output_count),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to=[],
        disable_tqdm=True,
    )


def _resumed(spec: JobSpec, bucket: Bucket, scratch: Path) -> Complete | None:
    if spec.resume_from is None:
        return None
    prefix = spec.resume_from.rstrip("/") + "/"
    complete = checkpoints.download(bucket, prefix, scratch / "resumed")
    log.info("checkpoint.loaded", step=complete.step, prefix=prefix)
    return complete


def _left(spec: JobSpec, plan: Plan, bucket: Bucket, chronicle: Chronicle, base_folder: Path) -> tuple[Output, ...]:
    # Checkpoints of older attempts may have been cleared away meanwhile.
    there = [kept for kept in chronicle.history if bucket.get(kept.prefix + checkpoints.COMPLETE) is not None]
    return tuple(
        outputs.export(
            bucket,
            kept,
            attempt_prefix=spec.attempt_prefix,
            base_prefix=plan.base_prefix,
            base_folder=base_folder,
            kind="adapter" if plan.method == "LoRA" else "full",
        )
        for kept in outputs.chosen(there, plan.output_count)
    )
