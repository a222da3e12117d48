"""An executor that runs nothing: it records what it was asked, and tests say what became of a job."""

import asyncio
from collections.abc import Sequence

from handlers.errors import Unavailable
from handlers.ports.jobs import JobListed, JobSpec, JobStatus

Job = tuple[str, int]


class FakeExecutor:
    """An Executor in memory. A submitted job runs at once, or is queued while all ``slots`` are taken.

    ``name`` is what a task's state says where a test says nothing else.

    For tests:
        submits: every spec handed to ``submit``, repeated ones too, in order.
        started: jobs that began to run, in order; one that was submitted twice is in it once.
        cancels: every (job_id, attempt, grace_seconds) handed to ``cancel``.
        forgotten: every (job_id, attempt) handed to ``forget``.
        available: set to False, every method raises Unavailable.
        exit_on_cancel: what a running job's exit code becomes when it is cancelled; None: it runs on.
    """

    def __init__(self, name: str = "local", slots: int | None = None) -> None:
        self.name = name
        self.slots = slots
        self.submits: list[JobSpec] = []
        self.started: list[Job] = []
        self.cancels: list[tuple[str, int, float]] = []
        self.forgotten: list[Job] = []
        self.available = True
        self.exit_on_cancel: int | None = 0
        self._specs: dict[Job, JobSpec] = {}
        self._states: dict[Job, JobStatus] = {}
        self._printed: dict[Job, str] = {}

    # --- what tests say --------------------------------------------------------------------------------

    def set_state(self, job_id: str, attempt: int, status: JobStatus) -> None:
        """Decide what is known of a job, submitted or not. A slot this frees goes to the next one queued."""
        self._states[(job_id, attempt)] = status
        self._start_queued()

    def end(self, job_id: str, attempt: int, exit_code: int) -> None:
        """Let a job end with an exit code (minus the signal where one killed it)."""
        self.set_state(job_id, attempt, JobStatus(state="ended", exit_code=exit_code))

    def lose(self, job_id: str, attempt: int) -> None:
        """Let a job vanish without a trace, as in a reboot."""
        self.set_state(job_id, attempt, JobStatus(state="unknown"))

    def write_log(self, job_id: str, attempt: int, text: str) -> None:
        """Let a job print."""
        self._printed[(job_id, attempt)] = self._printed.get((job_id, attempt), "") + text

    # --- the port --------------------------------------------------------------------------------------

    async def submit(self, spec: JobSpec) -> None:
        await self._arrive()
        job = (spec.job_id, spec.attempt)
        if self._specs.get(job, spec) != spec:
            raise ValueError(f"job {spec.job_id} attempt {spec.attempt} was submitted with another spec")
        self.submits.append(spec)
        if job not in self._specs:
            self._specs[job] = spec
            self._states.setdefault(job, JobStatus(state="queued"))
            self._start_queued()

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        await self._arrive()
        job = (job_id, attempt)
        status = self._states.get(job, JobStatus(state="unknown"))
        if status.state != "queued" or status.queue_position is not None:
            return status
        return JobStatus(state="queued", queue_position=self._queued().index(job) + 1)

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        await self._arrive()
        self.cancels.append((job_id, attempt, grace_seconds))
        status = self._states.get((job_id, attempt))
        if status is None:
            return
        if status.state == "queued":
            self.set_state(job_id, attempt, JobStatus(state="ended"))
        elif status.state == "running" and self.exit_on_cancel is not None:
            self.end(job_id, attempt, self.exit_on_cancel)

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        await self._arrive()
        text = self._printed.get((job_id, attempt), "")[cursor:]
        return text, cursor + len(text)

    async def jobs(self) -> Sequence[JobListed]:
        await self._arrive()
        return [JobListed(*job, self._states[job].state) for job in self._specs]

    async def forget(self, job_id: str, attempt: int) -> None:
        await self._arrive()
        job = (job_id, attempt)
        self.forgotten.append(job)
        if job in self._states and self._states[job].state not in ("queued", "running"):
            del self._states[job]
            self._specs.pop(job, None)
            self._printed.pop(job, None)

    async def _arrive(self) -> None:
        await asyncio.sleep(0)
        if not self.available:
            raise Unavailable("the executor does not answer")

    def _queued(self) -> list[Job]:
        return [job for job in self._states if self._states[job].state == "queued"]

    def _start_queued(self) -> None:
        for job in self._queued():
            running = sum(status.state == "running" for status in self._states.values())
            submitted_here = job in self._specs and self._states[job].queue_position is None
            if submitted_here and (self.slots is None or running < self.slots):
                self._states[job] = JobStatus(state="running")
                self.started.append(job)
