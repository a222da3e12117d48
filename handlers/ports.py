"""What handlers need from the world, as Protocols. Adapters are in worker/.

Those of ObjectStore and Executor pass the suites in tests/conformance; Kubernetes is contract-tested alone.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from contracts.dataset import CheckedFile, DatasetFile, Format
from contracts.envelope import DEFAULT_PROJECT, Event
from contracts.hyperparameters import HyperparameterRule
from handlers.outcome import Decision, Outcome
from handlers.planning.selection import Draws, Selection
from handlers.validation.report import Report


class ObjectInfo(NamedTuple):
    """An object as a listing shows it. ``etag`` is opaque: equal ETags mean equal bytes."""

    key: str
    etag: str
    size_bytes: int


class Stored(NamedTuple):
    """An object's bytes and the ETag they had."""

    body: bytes
    etag: str


class ObjectStore(Protocol):
    """A bucket, strongly consistent, with conditional puts. Keys are relative, ``/``-separated, never with ``..``.

    Every method may raise :class:`handlers.errors.Unavailable`. A put is all or nothing: a reader sees the old object
    or the new one. Of concurrent conditional puts on one key exactly one succeeds. A put whose answer was lost may
    have happened: it is then reported as lost (PreconditionFailed) on retry, so callers compare a nonce of theirs.
    """

    def uri(self, key: str) -> str:
        """Return the absolute URI of a key."""
        ...

    def key(self, uri: str) -> str:
        """Return the key of a URI in this bucket. Raises OutsideBucket for any other URI, traversal included."""
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        ...

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or None. ``byte_range`` is (first, end), end excluded, cut at the object's size.

        Raises PreconditionFailed where ``if_match`` is given and the object has another ETag.
        """
        ...

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        """Store an object and return its ETag.

        Raises PreconditionFailed where ``if_none_match`` is set and the object exists, or ``if_match`` is given and
        the object is missing or has another ETag.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with ``prefix``, in key order."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket, server-side: the bytes never pass through this process. Overwrites.

        Raises FileNotFoundError where there is no source.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete an object. Deleting a missing one is not an error."""
        ...

    async def upload(self, key: str, path: Path) -> str:
        """Store a local file, of any size, without holding it in memory; return its ETag."""
        ...

    async def download(self, key: str, path: Path) -> None:
        """Write an object into a local file, of any size. Raises FileNotFoundError where there is none."""
        ...


class Clock(Protocol):
    """The time. Injected so that tests decide what time it is."""

    def now(self) -> datetime:
        """Return the current time, UTC, with its time zone."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...


class Receipts(Protocol):
    """Recorded outcomes. The one place where "exactly once" is made."""

    async def once(
        self, stage: str, business_key: str, cause: Event[Any], work: Callable[[], Awaitable[Decision]]
    ) -> Outcome:
        """Return the recorded outcome of this work; where there is none, do the work and record it first.

        Idempotent, and safe under concurrent callers and processes: all of them return the outcome recorded first,
        with the same events under the same ids. ``work`` may run more than once (a crash before the record), so it
        must be safe to repeat.
        """
        ...

    async def recorded(self, stage: str, business_key: str) -> Outcome | None:
        """Return the recorded outcome, or None."""
        ...


class LeftOutSamples(Struct, frozen=True, kw_only=True):
    """How many valid samples of a file are longer than the model's context; each is a finding (NDJSON) at the URI."""

    file: str
    samples: int
    findings_uri: str


class TokenCounts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of a dataset for one model, by its own tokenizer and chat template: what the trainer will see.

    ``samples`` are those that are kept. ``trained`` tokens have a loss weight above 0; ``histogram`` maps the upper
    bound of a power-of-two bucket of sample lengths to the number of samples in it. Samples longer than the model's
    context are in ``too_long`` alone, and listed at ``left_out``: they are not trained on. ``total_of_extremes`` is
    what remains of ``total`` where of each preference only the best and the worst candidate are compared. ``tables``
    are the keys of the files' sample rows (see handlers/planning/sample_rows.py), which drawing samples needs.
    """

    samples: int
    total: int
    trained: int
    masked: int
    longest: int
    histogram: dict[int, int]
    too_long: int = 0
    total_of_extremes: int = 0
    left_out: tuple[LeftOutSamples, ...] = ()
    tables: tuple[str, ...] = ()


class DatasetScanner(Protocol):
    """Reads a dataset's files and finds every fault, off the event loop."""

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        """Return the report on the files; the full list of findings is stored under ``findings_key`` as NDJSON.

        Deterministic: depends on the bytes and the format alone. A file that is missing or unreadable is a finding,
        not an error. Raises Unavailable where the bucket does not answer.
        """
        ...


class TokenCounter(Protocol):
    """Counts tokens exactly, off the event loop, each (content, tokenizer, template) once."""

    async def count(
        self,
        files: Sequence[CheckedFile],
        format: Format,
        model: "ModelEntry",
        findings_key: str | None = None,
    ) -> TokenCounts:
        """Return the tokens of the samples that are trained on: without lines that have an error in the findings, and
        without samples that are longer than the model's context.

        Raises LookupError where the model's tokenizer cannot be found, ValueError where it or its template cannot be
        used on these samples, FileNotFoundError and PreconditionFailed where files are gone or have changed,
        Unavailable where the bucket does not answer.
        """
        ...


class TokenRange(Struct, frozen=True, kw_only=True):
    """Between which numbers a dataset's tokens are: (lowest, highest), both included, in 99 of 100 datasets.

    From a random sample of its lines: ``sampled`` of them were tokenised. The others mean what they do in TokenCounts.
    """

    total: tuple[int, int]
    total_of_extremes: tuple[int, int]
    sampled: int


class Unsampled(Struct, frozen=True):
    """That a dataset's tokens take long to count, and that a sample of its lines says nothing about them."""


class TokenSampler(Protocol):
    """Says quickly about how many tokens a large dataset has, off the event loop."""

    async def sample(
        self, files: Sequence[CheckedFile], format: Format, model: "ModelEntry", findings_key: str, samples: int
    ) -> TokenRange | Unsampled | None:
        """Return between which numbers the tokens are; the same bytes and model always give the same.

        None: they are few, or were counted before, so that counting them is quick. Unsampled: it is not, but some lines
        are invalid, very long, or none that the template takes. ``samples`` is how many there are. Raises as
        TokenCounter does.
        """
        ...


class Planner(Protocol):
    """Draws samples, off the event loop."""

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:
        """Return what comes of a selection: a pure function of it and of the sample rows it names.

        With a task's id the fate of every line is stored first, as Parquet, under ``layout.fates``. Idempotent.

        Raises FileNotFoundError where sample rows are gone, Transient where the process was killed, Unavailable where
        the bucket does not answer.
        """
        ...


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a job needs of an engine: GPUs on each of its nodes, and the seconds after which the engine may kill it."""

    gpus: int = 0
    nodes: int = 1
    time_limit_seconds: int | None = None


class JobSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All a trainer and its engine are told. Stored before submit; the same (job_id, attempt) always has the same spec.

    ``project`` is whose job it is, for engines that keep accounts. ``traceparent`` is where in a trace it was begun.
    """

    job_id: str
    task_id: str
    attempt: int
    plan_key: str
    attempt_prefix: str
    resume_from: str | None = None
    first_seq: int = 0
    project: str = DEFAULT_PROJECT
    resources: Resources = Resources()
    traceparent: str | None = None

    @property
    def job(self) -> "JobSpec":
        """Return what makes it this job and no other: all but its place in a trace, which releases before do not know.

        So workers of both, side by side in a rolling update, submit the same job.
        """
        return replace(self, traceparent=None)


JobState = Literal["unknown", "queued", "running", "ended"]

#: Why an engine ended a job, where it says so.
EndCause = Literal["time-limit", "out-of-memory", "node-failed", "preempted"]


class JobStatus(Struct, frozen=True, kw_only=True):
    """What an engine knows of a job: a hint whether it lives. Results come from the trainer's own events.

    ``exit_code`` is minus the signal where one killed it; ``queue_position`` counts from 1; ``cause`` is set where the
    engine ended the job by itself and says why. Each is None where the engine does not tell.
    """

    state: JobState
    exit_code: int | None = None
    queue_position: int | None = None
    cause: EndCause | None = None


class JobListed(NamedTuple):
    """A job an engine knows of, ended ones included as long as it remembers them."""

    job_id: str
    attempt: int
    state: JobState


class Executor(Protocol):
    """An engine that runs training jobs. Handles are a pure function of job id and attempt.

    Methods may raise Unavailable. Every engine may, in a crash, start a job twice; trainers are fenced by attempt.
    """

    name: str

    async def submit(self, spec: JobSpec) -> None:
        """Queue or start a job. Idempotent by (job_id, attempt); ValueError for the same pair with another spec."""
        ...

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what is known of a job; ``unknown`` for one never submitted or lost. Never raises for that."""
        ...

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end (SIGTERM), and kill it after the grace. Idempotent; does not wait; unknown is no error."""
        ...

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job printed from a cursor on, and the next cursor."""
        ...

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job the engine knows of that was submitted through this port, whoever submitted it.

        For sweeps: what runs and belongs to no task any more can be cancelled.
        """
        ...

    async def forget(self, job_id: str, attempt: int) -> None:
        """Drop what the engine keeps of an ended job. Idempotent.

        Does nothing while the engine still clears up after the job: whoever sweeps asks again.
        """
        ...


class Choice(NamedTuple):
    """Which executor serves a task, and what the job asks of it."""

    name: str
    resources: Resources


class Executors(Protocol):
    """The executors this service has. Configuration, not state: it may be another one after a restart."""

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        """Return what serves a task's next attempt. Pure; never fails: the last rule serves everything."""
        ...

    def of(self, name: str) -> Executor:
        """Return an executor by name. Raises Unavailable where it is not configured: its jobs wait until it is."""
        ...

    def every(self) -> Sequence[Executor]:
        """Return every executor, for sweeps."""
        ...


class ModelEntry(Struct, frozen=True, kw_only=True):
    """A base model as the catalogue knows it. ``prefix`` is where its files (tokenizer, weights) are in the bucket."""

    name: str
    version: str
    prefix: str
    context_length: int
    training_types: dict[str, dict[str, HyperparameterRule]] = {}
    function_calling: bool = False
    thinking: bool = False


class PresetDataset(Struct, frozen=True, kw_only=True):
    """A dataset of the platform's own that may be mixed in: imported and validated like any other."""

    dataset_id: str
    version: str


class Price(Struct, frozen=True, kw_only=True):
    """Price per 1,000 tokens, a decimal string, with its currency and the version of the table it is from."""

    per_1k_tokens: str
    currency: str
    version: str


class Catalog(Protocol):
    """Which base models there are, what may be set on them and what they cost. Configuration, not state."""

    def model(self, name: str, version: str) -> ModelEntry | None:
        """Return a model of the catalogue, or None."""
        ...

    def models(self) -> Sequence[ModelEntry]:
        """Return every model."""
        ...

    def price(self, model: ModelEntry, method: Literal["full", "LoRA"]) -> Price | None:
        """Return what training the model costs, or None where no price is set."""
        ...

    def currency(self) -> str:
        """Return the currency of the price table."""
        ...

    def published(self, training_type: str) -> bool:
        """Return whether users may choose this training type."""
        ...

    def presets(self, training_type: str) -> Sequence[PresetDataset]:
        """Return what a preset mix draws from for a training type; none where it has no preset datasets."""
        ...
