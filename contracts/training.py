"""What is said between us and the trainers: a dispatched job, and what it reports back."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from contracts.envelope import Id
from contracts.gguf import Gguf
from contracts.task import Party, Progress

Attempt = Annotated[int, Meta(ge=1)]


class TrainingDispatched(Struct, frozen=True, kw_only=True):
    """An attempt has begun, for an executor, which gets its job once it waits for no quota. Said once an attempt."""

    task_id: Id
    project: Id
    attempt: Attempt
    executor: str
    job_id: str
    plan_uri: str
    quote_id: str | None = None


class FileDigest(Struct, frozen=True):
    """One file of an output: path relative to its prefix, size in bytes, SHA-256 in hex."""

    path: str
    size_bytes: int
    sha256: str


class OutputProbe(Struct, frozen=True, kw_only=True):
    """The probe of an output, see :mod:`contracts.probe`: which file it is, and how far a repetition may be off.

    ``merged_difference`` is how far the merged weights are from base and adapter on the same prompts, where there are
    merged weights: at most the tolerance.
    """

    path: str
    tolerance: float
    merged_difference: float | None = None


class Output(Struct, frozen=True, kw_only=True):
    """A model a trainer left under its attempt's prefix, complete and hashed.

    ``versions`` are those of the code that made it, by package. ``gguf``: what became of its GGUF file, where one was
    asked for.
    """

    step: int
    uri: str
    kind: Literal["adapter", "full"]
    files: tuple[FileDigest, ...]
    loss: float | None = None
    validation_loss: float | None = None
    probe: OutputProbe | None = None
    versions: dict[str, str] = {}
    gguf: Gguf | None = None


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A place training can go on from. Written completely before it is announced.

    ``trained_tokens`` counts all tokens the model has seen up to there, see :class:`contracts.task.Progress`.
    """

    step: int
    uri: str
    trained_tokens: int | None = None


class Failure(Struct, frozen=True):
    """Why a job ended badly. ``retryable`` says whether another attempt could end differently."""

    reason: str
    party: Party
    message: str
    retryable: bool = True


class TrainingProgress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a trainer says about itself (``training.progress``).

    ``seq`` rises within an attempt; (attempt, seq) decides what is new, never the order of arrival. Whatever an older
    attempt still sends is ignored. ``project`` is whose task it is; trainers of older versions do not say it.
    """

    task_id: Id
    attempt: Attempt
    seq: Annotated[int, Meta(ge=0)]
    state: Literal["deploying", "running", "succeeded", "failed", "stopped"]
    progress: Progress | None = None
    checkpoint: Checkpoint | None = None
    outputs: tuple[Output, ...] = ()
    failure: Failure | None = None
    project: Id | None = None
