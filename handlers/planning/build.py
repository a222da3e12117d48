"""Building the plan: a pure function of the form, the verdicts, the catalogue and what was drawn."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from contracts.dataset import Format
from contracts.task import TaskForm
from handlers import layout
from handlers.planning.plan import Plan, PlannedData, PlannedDataset
from handlers.planning.selection import Draws, Kind, Selection, Source
from handlers.ports.catalog import ModelEntry
from handlers.ports.executors import Choice
from handlers.pricing import BEST_WORST, method_of

#: Which dataset format each training type reads.
FORMATS: dict[str, Format] = {
    "FinetuneSft": "sft",
    "FinetuneLoRA": "sft",
    "Pretrain": "pretrain",
    "DPO": "preference",
    "DPOLoRA": "preference",
    "Embedding": "ranking",
}

#: Of a plan and its datasets: where and for whom things are and at which price, which does not decide about training.
_PLACES = {"task_id", "executor", "resources", "fates_key", "plan_hash", "quoted"}
_DATASET_PLACES = {"digest", "files", "findings_key"}


def build_plan(
    form: TaskForm,
    data: PlannedData,
    draws: Draws | None,
    model: ModelEntry,
    hyperparameters: Mapping[str, int | float | bool | str],
    placed: Choice,
) -> Plan:
    """Return what the task trains. The same inputs give the same plan on any machine.

    ``draws`` is what came of ``data``, where that could be drawn; ``placed`` is where the task is to run.
    """
    plan = Plan(
        **{name: getattr(data, name) for name in PlannedData.__struct_fields__},
        task_id=form.task_id,
        training_type=form.training_type,
        format=FORMATS[form.training_type],
        method=method_of(form.training_type),
        base_model=model.name,
        base_version=model.version,
        base_prefix=model.prefix,
        context_length=model.context_length,
        hyperparameters=dict(hyperparameters),
        output_count=form.output_count,
        executor=placed.name,
        resources=placed.resources,
        draws=draws,
        fates_key=layout.fates(form.task_id, draws.fates_digest) if draws else None,
    )
    return replace(plan, plan_hash=hash_of(plan))


def hash_of(plan: Plan) -> str:
    """Return the SHA-256 (hex) of what a plan decides: equal for equal data, wherever they are, and whoever asks."""
    said = {name: value for name, value in msgspec.to_builtins(plan).items() if name not in _PLACES}
    for kind in ("training", "validation", "presets"):
        said[kind] = [_contents(dataset) for dataset in getattr(plan, kind)]
    return layout.digest(said)


def _contents(dataset: PlannedDataset) -> dict[str, object]:
    said = {name: value for name, value in msgspec.to_builtins(dataset).items() if name not in _DATASET_PLACES}
    return said | {"files": [file.sha256 for file in dataset.files]}


def packed_to(training_type: str, model: ModelEntry) -> int | None:
    """Return the tokens of a row where samples are packed into rows; None: a row is a sample. Pure."""
    return model.context_length if FORMATS[training_type] == "pretrain" else None


def seed_of(training: Sequence[PlannedDataset], stated: object) -> int:
    """Return the seed of a task: its user's, or one that follows from the data. The same data train in one order."""
    if isinstance(stated, int):
        return stated
    return int(layout.digest([[file.sha256 for file in dataset.files] for dataset in training])[:8], 16)


def selection_of(data: PlannedData, hyperparameters: Mapping[str, object]) -> Selection:
    """Return the draw that planned data ask for. Pure."""
    kinds: dict[Kind, tuple[PlannedDataset, ...]] = {
        "validation": data.validation,
        "user": data.training,
        "preset": data.presets,
    }
    return Selection(
        sources=tuple(
            Source(
                dataset_id=dataset.dataset_id,
                kind=kind,
                tables=dataset.tables,
                multiplier=dataset.multiplier,
                sample_count=dataset.sample_count,
            )
            for kind, datasets in kinds.items()
            for dataset in datasets
        ),
        seed=data.seed,
        split_seed=data.split_seed,
        validation_percent=data.validation_percent,
        preset_mix=data.preset_mix,
        # What is never looked at is not counted: see the preference recipe.
        extremes=hyperparameters.get("pairs") == BEST_WORST,
    )
