"""The engines that run training jobs, as handlers need them. Adapters are held to it by tests/conformance."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from handlers.ports.jobs import JobListed, JobSpec, JobStatus, Resources


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
