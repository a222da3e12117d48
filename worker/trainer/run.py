"""Training itself: everything is loaded, trained from a checkpoint or from the beginning, and its outputs left."""

from collections.abc import Callable
from pathlib import Path

import structlog
import torch
from transformers import TrainingArguments, set_seed

from contracts.training import Output
from handlers.manifests import base_name
from handlers.planning.plan import Plan
from handlers.ports.jobs import JobSpec
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import read_folder
from worker.trainer import checkpoints, collective, outputs
from worker.trainer.bucket import Bucket
from worker.trainer.checkpoints import Complete
from worker.trainer.chronicle import Chronicle
from worker.trainer.converter import Converter
from worker.trainer.dataset import Datasets, EpochSampler, build_datasets, open_datasets
from worker.trainer.exact_trainer import ExactTrainer
from worker.trainer.fence import Fence, Interrupted, Standing
from worker.trainer.hyperparameters import Hyperparameters, Share, hyperparameters_of
from worker.trainer.metrics import Meter, Work, cost_of
from worker.trainer.progress import Reporter
from worker.trainer.ranks import Rank
from worker.trainer.recipes import Recipe, recipe_of
from worker.trainer.recipes.recipe import Beginning
from worker.trainer.validation import Validation
from worker.trainer.whole import fetch_whole

log = structlog.get_logger()


def train(
    spec: JobSpec, plan: Plan, bucket: Bucket, fence: Fence, reporter: Reporter, scratch: Path, converter: Converter
) -> None:
    """Train a plan to its end and say that it succeeded.

    The same plan gives the same weights, to the bit on the same machine's CPU, however often it is interrupted. Of
    several processes each calls this: the first of each machine reads for those on it, the first of all writes.

    Raises:
        Interrupted: the fence said stop; a checkpoint is stored where training had begun.
        Superseded: another attempt counts.
        Exception: anything that failed; see failures.failure_of.
    """

    def go_on() -> None:
        fence.check()
        if fence.standing is not Standing.RUN:
            raise Interrupted(None)

    rank = Rank.of_environment()
    collective.join(rank)
    chosen = hyperparameters_of(plan)
    recipe = recipe_of(plan, chosen)
    # Until the first process of a machine has gathered it all, the others wait here; what they get is its folder.
    resumed = _gathered(spec, plan, recipe, bucket, scratch, go_on) if rank.first_here else None
    scratch, resumed = collective.of_machine((scratch, resumed), rank)
    run = _Run(plan, chosen, recipe, open_datasets(scratch), scratch)
    recipe.load(scratch / "base")
    recipe.model.to(run.device)
    resume_from = scratch / "resumed" if resumed else None
    recipe.prepare(Beginning(run.data.reader, run.data.used(), scratch, resume_from, go_on, rank))
    chronicle = Chronicle(
        spec=spec,
        bucket=bucket,
        fence=fence,
        reporter=reporter,
        base=base_name(plan),
        meter=run.meter(resumed.history[-1].trained_tokens if resumed else 0),
        validation=run.validation(),
        history=resumed.history if resumed else (),
    )
    run.train(chronicle, resume_from, resumed.step if resumed else 0)
    collective.leave()
    if chronicle.interrupted:
        raise Interrupted(chronicle.checkpoint)
    if rank.first:
        left = _left(spec, plan, bucket, chronicle, scratch, chosen, converter)
        reporter.succeeded(chronicle.progress, left)


def _gathered(
    spec: JobSpec, plan: Plan, recipe: Recipe, bucket: Bucket, scratch: Path, check: Callable[[], None]
) -> Complete | None:
    """Bring base model, tokens and the checkpoint to go on from into files of ``scratch``."""
    fetch_whole(bucket, plan.base_prefix, scratch / "base")
    check()
    encoder = SampleEncoder(read_folder(scratch / "base"))
    bucket.loop.run(build_datasets(bucket.store, plan, encoder, recipe, scratch, check))
    if spec.resume_from is None:
        return None
    prefix = spec.resume_from.rstrip("/") + "/"
    complete = checkpoints.download(bucket, prefix, scratch / "resumed")
    log.info("checkpoint.loaded", step=complete.step, prefix=prefix)
    check()
    return complete


class _Run:
    """A recipe with its data: rows, the arithmetic of steps, and the Trainer that goes through them."""

    def __init__(self, plan: Plan, chosen: Hyperparameters, recipe: Recipe, data: Datasets, scratch: Path) -> None:
        self._plan, self._chosen, self._recipe, self.data = plan, chosen, recipe, data
        self._rows = recipe.rows(data.reader, data.training)
        self._total_steps = chosen.total_steps(len(self._rows))
        share = chosen.share(collective.size(), whole_batches=recipe.whole_batches)
        self._arguments = _arguments(plan, chosen, share, self._total_steps, scratch)
        self._work = Work()

    @property
    def device(self) -> torch.device:
        """Return what this process trains on."""
        return self._arguments.device

    def meter(self, before: int) -> Meter:
        """Return what measures this run, which goes on after so many tokens."""
        cost = cost_of(self._recipe.model, causal=self._recipe.causal)
        return Meter(self._work, cost, self.device, collective.size(), before)

    def validation(self) -> Validation:
        """Return what its checkpoints are judged by."""
        rows = self._recipe.rows(self.data.reader, self.data.validation)
        return Validation(self._recipe, rows, self._chosen.batch_size, self._chosen.precision == "bf16")

    def train(self, chronicle: Chronicle, resume_from: Path | None, step: int) -> None:
        """Train to the end, or until the chronicle says stop."""
        if step >= self._total_steps:
            return  # only its outputs were missing
        # What loading and adapting drew from the generators must not matter.
        set_seed((self._plan.seed + collective.rank()) % 2**32)
        sampler = EpochSampler(len(self._rows), self._plan.seed, shuffle=self._plan.shuffle == "random")
        trainer = ExactTrainer(
            self._recipe, self._rows, sampler, self._work, args=self._arguments, callbacks=[chronicle]
        )
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)


def _arguments(plan: Plan, chosen: Hyperparameters, share: Share, total_steps: int, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(scratch / "run"),
        max_steps=total_steps,
        per_device_train_batch_size=share.batch_size,
        gradient_accumulation_steps=share.accumulation,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="linear",
        # Below 1 it is a share of all steps.
        warmup_steps=chosen.warmup_ratio,
        optim="adamw_torch_fused" if torch.cuda.is_available() else "adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=chosen.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        # Not every weight of every model has a part in every loss: an embedding model's own head, say.
        ddp_find_unused_parameters=True,
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


def _left(
    spec: JobSpec,
    plan: Plan,
    bucket: Bucket,
    chronicle: Chronicle,
    scratch: Path,
    chosen: Hyperparameters,
    converter: Converter,
) -> tuple[Output, ...]:
    # Checkpoints of older attempts may have been cleared away meanwhile.
    there = [kept for kept in chronicle.history if bucket.get(kept.prefix + checkpoints.COMPLETE) is not None]
    asked = outputs.Asked(merge=chosen.merge, gguf=chosen.gguf, converter=converter)
    return tuple(
        outputs.export(bucket, kept, plan=plan, attempt_prefix=spec.attempt_prefix, scratch=scratch, asked=asked)
        for kept in outputs.chosen(there, plan.output_count)
    )
