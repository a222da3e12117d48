"""Executors whose submits are counted."""

from collections import Counter
from collections.abc import Sequence

from handlers.ports.executors import Choice, Executor, Executors
from handlers.ports.jobs import JobListed, JobSpec, JobStatus


class CountedExecutor:
    """The same as ``engine``; ``submits`` counts by (executor, "accepted" or "failed")."""

    def __init__(self, engine: Executor, submits: Counter[tuple[str, str]]) -> None:
        self.name = engine.name
        self.engine = engine
        self._submits = submits

    async def submit(self, spec: JobSpec) -> None:
        """See Executor."""
        try:
            await self.engine.submit(spec)
        except Exception:
            self._submits[self.name, "failed"] += 1
            raise
        self._submits[self.name, "accepted"] += 1

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """See Executor."""
        return await self.engine.status(job_id, attempt)

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """See Executor."""
        await self.engine.cancel(job_id, attempt, grace_seconds)

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """See Executor."""
        return await self.engine.logs(job_id, attempt, cursor)

    async def jobs(self) -> Sequence[JobListed]:
        """See Executor."""
        return await self.engine.jobs()

    async def forget(self, job_id: str, attempt: int) -> None:
        """See Executor."""
        await self.engine.forget(job_id, attempt)


class CountedExecutors:
    """The same as ``real``; ``submits`` counts those of all of them."""

    def __init__(self, real: Executors, submits: Counter[tuple[str, str]]) -> None:
        self._real = real
        self._submits = submits

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        """See Executors."""
        return self._real.choose(project, model_name, training_type)

    def of(self, name: str) -> Executor:
        """See Executors."""
        return CountedExecutor(self._real.of(name), self._submits)

    def every(self) -> Sequence[Executor]:
        """Return the executors themselves: sweeps submit nothing. See Executors."""
        return self._real.every()
