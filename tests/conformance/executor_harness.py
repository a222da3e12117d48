"""What the suite needs besides the port to drive an executor: how jobs start, end and are killed."""

from collections import Counter
from typing import Protocol

from handlers.ports.executors import Executor
from handlers.ports.jobs import JobSpec, JobStatus
from tests.conformance.held_trainers import spec_of
from tests.fakes.executor import FakeExecutor
from worker.executors.counted import CountedExecutor


class Harness(Protocol):
    """An engine with one slot, and a hand inside it."""

    async def open(self) -> None:
        """Start the engine."""
        ...

    @property
    def saved(self) -> JobStatus:
        """Return what is known of a job that was cancelled and ended by itself: not every engine keeps how."""
        ...

    def executor(self) -> Executor:
        """Return another executor on the same engine."""
        ...

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1) -> JobSpec:
        """Return the spec of a job that runs until released; a stubborn one ignores SIGTERM."""
        ...

    def starts(self, spec: JobSpec) -> int:
        """Return how many times the job began to run."""
        ...

    async def running(self, spec: JobSpec) -> None:
        """Return when the job runs and would handle a signal."""
        ...

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        """Let a running job end by itself."""
        ...

    async def kill(self, spec: JobSpec) -> None:
        """Kill a running job's trainer with SIGKILL, behind the executor's back."""
        ...

    async def submit_from_a_worker_that_dies(self, spec: JobSpec) -> None:
        """Submit from a process that is then killed with SIGKILL."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...


class FakeHarness:
    saved = JobStatus(state="ended", exit_code=0)

    def __init__(self) -> None:
        self.fake = FakeExecutor(slots=1)

    async def open(self) -> None:
        pass

    def executor(self) -> Executor:
        return self.fake

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1) -> JobSpec:
        self.fake.exit_on_cancel = -9 if stubborn else 0
        return spec_of(job_id, stubborn=stubborn, attempt=attempt)

    def starts(self, spec: JobSpec) -> int:
        return self.fake.started.count((spec.job_id, spec.attempt))

    async def running(self, spec: JobSpec) -> None:
        if self.starts(spec) == 1:
            self.fake.write_log(spec.job_id, spec.attempt, "开始\n")

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        self.fake.end(spec.job_id, spec.attempt, exit_code)

    async def kill(self, spec: JobSpec) -> None:
        self.fake.end(spec.job_id, spec.attempt, -9)

    async def submit_from_a_worker_that_dies(self, spec: JobSpec) -> None:
        await self.fake.submit(spec)

    async def close(self) -> None:
        pass


class CountedHarness(FakeHarness):
    """The fake, behind the executor that counts."""

    def executor(self) -> Executor:
        return CountedExecutor(super().executor(), Counter())
