"""Building the plan: a pure function of the form, the verdicts and the catalogue."""

from collections.abc import Mapping

from contracts.dataset import Format
from contracts.task import TaskForm
from handlers import layout
from handlers.datasets import KnownDataset
from handlers.planning.plan import Plan, PlannedDataset
from handlers.ports import Choice, ModelEntry, TokenCounts
from handlers.pricing import method_of

#: Which dataset format each training type reads.
FORMATS: dict[str, Format] = {
    "FinetuneSft": "sft",
    "FinetuneLoRA": "sft",
    "Pretrain": "pretrain",
    "DPO": "preference",
    "DPOLoRA": "preference",
    "Embedding": "ranking",
}


def build_plan(
    form: TaskForm,
    known: Mapping[str, KnownDataset],
    kept: Mapping[str, TokenCounts],
    model: ModelEntry,
    hyperparameters: Mapping[str, int | float | bool | str],
    placed: Choice,
) -> Plan:
    """Return what the task trains. The same inputs give the same plan on any machine.

    ``kept`` are the token counts of the datasets, as far as they are known; ``placed`` is where it is to run.
    """
    training = tuple(
        _planned(known[wanted.dataset_id], kept, wanted.multiplier or 1.0, wanted.sample_count)
        for wanted in form.training_set
    )
    validation = form.validation
    return Plan(
        task_id=form.task_id,
        training_type=form.training_type,
        format=FORMATS[form.training_type],
        method=method_of(form.training_type),
        base_model=model.name,
        base_version=model.version,
        base_prefix=model.prefix,
        context_length=model.context_length,
        training=training,
        validation=tuple(_planned(known[name], kept) for name in validation.dataset_ids) if validation else (),
        validation_percent=validation.percent if validation else None,
        hyperparameters=dict(hyperparameters),
        output_count=form.output_count,
        shuffle="none" if form.shuffle == "none" else "random",
        # Without a seed of the user's, the data decide: the same data train in the same order everywhere.
        seed=form.shuffle if isinstance(form.shuffle, int) else int(layout.digest(training)[:8], 16),
        executor=placed.name,
        resources=placed.resources,
    )


def _planned(
    known: KnownDataset, kept: Mapping[str, TokenCounts], multiplier: float = 1.0, sample_count: int | None = None
) -> PlannedDataset:
    counts = kept.get(known.dataset_id)
    return PlannedDataset(
        dataset_id=known.dataset_id,
        digest=known.digest,
        files=known.files,
        samples=counts.samples if counts else known.valid_samples,
        too_long=counts.too_long if counts else None,
        findings_key=known.findings_key,
        multiplier=multiplier,
        sample_count=sample_count,
    )
