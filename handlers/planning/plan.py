"""The plan: everything a trainer needs to know, written once before dispatch. The same inputs give the same plan."""

from typing import Literal

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from contracts.envelope import Id
from handlers.ports import Resources


class PlannedDataset(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dataset of the training or validation set, pinned to its bytes.

    Lines that have an error in the findings (NDJSON at ``findings_key``) are not trained on, nor are samples longer
    than the context. ``samples`` is how many are left, ``too_long`` how many did not fit: both from the token counts;
    where there were none, ``too_long`` is None and ``samples`` are the valid ones. ``multiplier`` repeats what is left
    (2.5: twice, and a seeded half once more); ``sample_count`` draws that many, seeded.
    """

    dataset_id: Id
    digest: str
    files: tuple[CheckedFile, ...]
    samples: int
    too_long: int | None = None
    findings_key: str | None = None
    multiplier: float = 1.0
    sample_count: int | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """What one task trains. ``hyperparameters`` are complete: defaults filled in, types as the rules say.

    ``executor`` and ``resources`` are where its first attempt runs; where a later one does is in the task's state.
    """

    task_id: Id
    training_type: str
    format: Format
    method: Literal["full", "LoRA"]
    base_model: str
    base_version: str
    base_prefix: str
    context_length: int
    training: tuple[PlannedDataset, ...]
    validation: tuple[PlannedDataset, ...] = ()
    validation_percent: int | None = None
    hyperparameters: dict[str, int | float | bool | str]
    output_count: int = 1
    shuffle: Literal["random", "none"] = "random"
    seed: int
    executor: str = "local"
    resources: Resources = Resources()
