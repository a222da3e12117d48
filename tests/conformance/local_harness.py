"""A hand inside the local executor: how its jobs start, end and are killed."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from handlers.ports.jobs import JobSpec, JobStatus
from tests.conformance.held_trainers import STUB, HeldTrainers, dying_worker, spec_of
from tests.wait import wait_until
from worker.executors.job_supervisor import EXIT, SUPERVISOR, read
from worker.executors.local import LocalExecutor


def executor_of(
    work_dir: str | Path, control: str | Path, namespace: str = "", slots: int = 1, gpus: Sequence[str] = ()
) -> LocalExecutor:
    """Return an executor whose trainers are held by files in ``control``."""
    return LocalExecutor(Path(work_dir), slots, STUB, {"CONTROL": str(control)}, namespace=namespace, gpus=gpus)


class LocalHarness(HeldTrainers):
    """Real processes on one slot."""

    saved = JobStatus(state="ended", exit_code=0)

    def __init__(self, directory: Path, namespace: str = "") -> None:
        super().__init__(directory / namespace / "control")
        self._base, self._namespace = directory, namespace
        self.work_dir = directory / "work"
        self.jobs = self.work_dir / "jobs" / namespace
        self.queue = self.jobs / ".queue"
        self._executors: list[LocalExecutor] = []

    def beside(self, namespace: str) -> Self:
        return type(self)(self._base, namespace)

    async def open(self) -> None:
        pass

    def executor(self, slots: int = 1, gpus: Sequence[str] = ()) -> LocalExecutor:
        executor = executor_of(self.work_dir, self.control, self._namespace, slots, gpus)
        self._executors.append(executor)
        return executor

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1) -> JobSpec:
        return spec_of(job_id, stubborn=stubborn, attempt=attempt)

    def directory(self, spec: JobSpec) -> Path:
        """Return where the executor keeps the job."""
        return self.jobs / f"{spec.job_id}.{spec.attempt}"

    def supervisor_pid(self, spec: JobSpec) -> int:
        """Return the process that looks after the job."""
        recorded = read(self.directory(spec) / SUPERVISOR)
        assert recorded is not None
        return int(recorded["pid"])

    async def over(self, spec: JobSpec) -> None:
        """Return when the job's end is written down; no executor looks meanwhile."""
        await wait_until((self.directory(spec) / EXIT).exists, 60, f"{spec.job_id} to end")

    def worker_that_dies(self, spec: JobSpec) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself."""
        return dying_worker(__name__, spec, self.work_dir, self.control, self._namespace)

    async def close(self) -> None:
        last = self.executor()
        assert await last.kill_all(), "jobs are left"
        for executor in self._executors:
            await executor.close()
