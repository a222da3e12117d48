"""The plan: everything a trainer needs to know, written once before dispatch. The same inputs give the same plan."""

from typing import Literal

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from contracts.envelope import Id
from contracts.task import PresetMix
from handlers.planning.selection import Draws
from handlers.ports.jobs import Resources
from handlers.settlement import Quoted


class PlannedDataset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dataset of the training, validation or preset data, pinned to its bytes.

    Lines that have an error in the findings (NDJSON at ``findings_key``) are not trained on, nor are samples longer
    than the context. ``samples`` is how many are left, ``too_long`` how many did not fit: both from the token counts;
    where there were none, ``too_long`` is None and ``samples`` are the valid ones. ``multiplier`` repeats what is left
    (2.5: twice, and a seeded half once more); ``sample_count`` draws that many, seeded. ``tables`` are the keys of the
    files' sample rows; ``version`` is a preset dataset's.
    """

    dataset_id: Id
    digest: str
    files: tuple[CheckedFile, ...]
    samples: int
    too_long: int | None = None
    findings_key: str | None = None
    multiplier: float = 1.0
    sample_count: int | None = None
    tables: tuple[str, ...] = ()
    version: str | None = None


class PlannedData(Struct, frozen=True, kw_only=True):
    """Which data a task is about, and the seeds of what is drawn from them.

    ``split_seed`` is the seed of the split into training and validation: not the data's, so that a line keeps its side
    when others are added.
    """

    training: tuple[PlannedDataset, ...]
    validation: tuple[PlannedDataset, ...] = ()
    presets: tuple[PlannedDataset, ...] = ()
    validation_percent: int | None = None
    preset_mix: PresetMix | None = None
    shuffle: Literal["random", "none"] = "random"
    seed: int
    split_seed: int = 0


class Plan(PlannedData, frozen=True, kw_only=True):
    """What one task trains. ``hyperparameters`` are complete: defaults filled in, types as the rules say.

    ``draws`` is what came of the draw, and ``fates_key`` where every line's fate is (Parquet): exactly the samples
    named there are trained on. Both are None where tokens could not be counted: then the trainer draws, by the same
    rules.
    ``plan_hash`` is of all that decides about training, and of nothing about where it happens: neither places of files
    nor the task's id. ``executor`` and ``resources`` are where its first attempt runs; where a later one does is in the
    task's state. ``quoted`` is what the task is billed by, made of the same data.
    """

    task_id: Id
    training_type: str
    format: Format
    method: Literal["full", "LoRA"]
    base_model: str
    base_version: str
    base_prefix: str
    context_length: int
    hyperparameters: dict[str, int | float | bool | str]
    output_count: int = 1
    executor: str = "local"
    resources: Resources = Resources()
    draws: Draws | None = None
    fates_key: str | None = None
    plan_hash: str = ""
    quoted: Quoted | None = None
