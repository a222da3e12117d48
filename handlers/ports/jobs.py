"""What is said of training jobs, to engines and by them."""

from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import DEFAULT_PROJECT


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
