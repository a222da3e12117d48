"""The form of ``task.created``, the commands a user gives, and the phases a task goes through."""

import enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from contracts.envelope import DEFAULT_PROJECT, END, Id, Time

# --- the form -------------------------------------------------------------------------------------------------

TrainingType = Literal["FinetuneSft", "FinetuneLoRA", "Pretrain", "DPO", "DPOLoRA", "Embedding"]

Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9\u4e00-\u9fff_-]{1,200}" + END,
        description="1-200 letters, digits, Chinese characters, hyphens or underscores",
    ),
]
Description = Annotated[str, Meta(pattern=r"^[A-Za-z0-9\u4e00-\u9fff_-]{0,300}" + END)]


class FoundationModel(Struct, frozen=True, forbid_unknown_fields=False):
    """A model of the catalogue, by name and version."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    version: Annotated[str, Meta(min_length=1, max_length=200)]


class BaseModel(Struct, frozen=True, omit_defaults=True):
    """What training starts from: a foundation model, or a model exported earlier; exactly one of the two."""

    foundation: FoundationModel | None = None
    custom_model_id: Id | None = None


class Tag(Struct, frozen=True):
    """A label of the user's own. No key may appear twice."""

    key: Annotated[str, Meta(min_length=1, max_length=128)]
    value: Annotated[str, Meta(max_length=256)] = ""


#: The most samples that a form may draw of a dataset: the trainer holds the order of an epoch in memory.
MAX_SAMPLE_COUNT = 100_000_000


class TrainingDataset(Struct, frozen=True, omit_defaults=True):
    """One dataset of the training set, taken ``multiplier`` times or sampled to ``sample_count``, never both.

    A ``sample_count`` of more than 100,000,000 is a fault of the form.
    """

    dataset_id: Id
    multiplier: Annotated[float, Meta(gt=0, le=100)] | None = None
    sample_count: Annotated[int, Meta(ge=1)] | None = None


class PresetMix(Struct, frozen=True, omit_defaults=True):
    """Preset samples mixed in: ``percent`` is their share of the mixed total."""

    percent: Annotated[int, Meta(ge=1, le=99)]
    when_short: Literal["fail", "repeat"] = "fail"


class Validation(Struct, frozen=True, omit_defaults=True):
    """Where validation samples come from: a share of the training lines, or datasets of their own; never both."""

    percent: Annotated[int, Meta(ge=1, le=50)] | None = None
    dataset_ids: tuple[Id, ...] = ()


class Tolerance(Struct, frozen=True, omit_defaults=True):
    """How many invalid samples a task accepts. At most one of the two; neither means one invalid line rejects."""

    max_invalid_ratio: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_invalid_records: Annotated[int, Meta(ge=0)] | None = None


class MaxCost(Struct, frozen=True):
    """The most a task may cost; dispatch is refused above it."""

    amount: Annotated[str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,6})?" + END)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}" + END)]


#: ``none``: in the order of the files. A number is the seed of every draw.
Shuffle = Literal["random", "none"] | Annotated[int, Meta(ge=0, le=2**63 - 1)]


class TaskForm(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form a user submits (``task.created``).

    Read it with :func:`contracts.form.read_form`, which reports every fault at once; decoding into this Struct stops
    at the first.

    ``quote_id`` names a quote of ``cost.estimated`` by which the task is to be billed. The task is refused where its
    data or its form are not those of the quote, or where prices have changed and the quote is not valid any more.
    """

    task_id: Id
    name: Name
    training_type: TrainingType
    base_model: BaseModel
    training_set: Annotated[tuple[TrainingDataset, ...], Meta(min_length=1, max_length=100)]
    description: Description = ""
    visibility: Literal["private", "project", "public"] = "private"
    project: Id = DEFAULT_PROJECT
    tags: tuple[Tag, ...] = ()
    hyperparameters: dict[str, str | int | float | bool] = {}
    output_count: Annotated[int, Meta(ge=1, le=10)] = 1
    preset_mix: PresetMix | None = None
    validation: Validation | None = None
    tolerance: Tolerance = Tolerance()
    shuffle: Shuffle | None = None
    max_cost: MaxCost | None = None
    quote_id: Id | None = None


class TaskSubmission(Struct, frozen=True):
    """The part of a form that must be legal for the event to be answerable: everything else gets a refusal."""

    task_id: Id


class Fault(Struct, frozen=True):
    """One fault of a form: where, what (kebab-case code) and how to mend it."""

    field: str
    code: str
    message: str


# --- commands and phases --------------------------------------------------------------------------------------


class TaskCommand(Struct, frozen=True, kw_only=True):
    """A user's order about a task. ``command_id`` names it among the task's: two pauses are two commands."""

    command_id: Id
    task_id: Id
    command: Literal["stop", "pause", "resume", "export", "delete"]
    project: Id = DEFAULT_PROJECT


class Phase(enum.Enum):
    """Where a task is. Terminal: Completed, Terminated, Failed."""

    PREPROCESSING = "Preprocessing"
    QUEUED = "Queued"
    DEPLOYING = "Deploying"
    RUNNING = "Running"
    COMPLETING = "Completing"
    COMPLETED = "Completed"
    PAUSED = "Paused"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"
    FAILED = "Failed"

    @property
    def terminal(self) -> bool:
        """Return whether nothing follows this phase."""
        return self in (Phase.COMPLETED, Phase.TERMINATED, Phase.FAILED)


Party = Literal["user", "platform", "unknown"]


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far training is, and how it goes.

    ``loss`` is a mean: a trained token's for texts and conversations, a sample's for preferences and rankings.
    ``gradient_norm`` is measured before clipping. ``tokens_per_second`` is a mean since the attempt's first step, over
    all devices; ``mfu`` is the share of what the devices can do in bfloat16 (0 to 1), where that is known;
    ``memory_bytes`` the peak of the first process: of its GPU, or of its resident memory where it has none.
    ``trained_tokens`` counts all tokens the model has seen up to this step, over all epochs: from the task's beginning,
    also where the attempt went on from a checkpoint.
    """

    step: int
    total_steps: int
    epoch: float | None = None
    loss: float | None = None
    validation_loss: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    gradient_norm: float | None = None
    mfu: float | None = None
    memory_bytes: int | None = None
    trained_tokens: int | None = None


SettlementBasis = Literal["quote", "trained", "nothing"]


class Settlement(Struct, frozen=True, kw_only=True):
    """What a task that has ended is billed, and why. Amounts are decimal strings in ``currency``.

    ``basis``: ``quote``: the task succeeded, and ``amount`` is ``quoted_amount``; ``trained``: it ended because of its
    user, or there was no complete quote: ``trained_tokens`` at the quote's price, never more than a complete quote;
    ``nothing``: the platform ended it, nobody knows who did, or it was never dispatched. ``amount`` is null where no
    price was set. ``steps`` and ``trained_tokens`` are without those that a failed attempt did and lost. ``party`` is
    whose matter the end was; null after a success.
    """

    basis: SettlementBasis
    amount: str | None
    currency: str | None
    party: Party | None
    quote_id: str | None = None
    quoted_tokens: int | None = None
    quoted_amount: str | None = None
    trained_tokens: int = 0
    steps: int = 0


class TaskStatus(Struct, frozen=True, kw_only=True):
    """Where a task is and why. ``revision`` rises: of two statuses of a task, the higher one holds.

    ``settlement`` is there once the task has ended, and the same ever after.
    """

    task_id: Id
    project: Id
    revision: int
    phase: Phase
    terminal: bool
    reason: str
    party: Party | None
    message: str
    attempt: int
    retry_count: int
    retry_limit: int
    resumable: bool
    changed_at: Time
    queue_position: int | None = None
    progress: Progress | None = None
    faults: tuple[Fault, ...] = ()
    settlement: Settlement | None = None
