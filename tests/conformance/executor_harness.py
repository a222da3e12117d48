"""What the suite needs besides the port to drive an executor: how jobs start, end and are killed."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from handlers.ports import Executor, JobSpec, JobStatus
from tests.fakes.executor import FakeExecutor
from tests.wait import wait_until
from worker.executors.counted import CountedExecutor
from worker.executors.local import LocalExecutor
from worker.executors.local_supervisor import EXIT, SUPERVISOR, read


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


def _spec(job_id: str, *, stubborn: bool, attempt: int) -> JobSpec:
    plan = "stubborn" if stubborn else "polite"
    return JobSpec(job_id=job_id, task_id="t", attempt=attempt, plan_key=plan, attempt_prefix="tasks/t/1/")


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
        return _spec(job_id, stubborn=stubborn, attempt=attempt)

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


STUB = (sys.executable, "-I", "-S", str(Path(__file__).with_name("trainer_stub.py")))

#: A worker that submits what it is given, then dies as it does under the OOM killer.
DYING_WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from handlers.ports import JobSpec
from worker.executors.local import LocalExecutor

work_dir, spec, control, *command = sys.argv[1:]
executor = LocalExecutor(Path(work_dir), 1, command, {"CONTROL": control})
asyncio.run(executor.submit(msgspec.json.decode(spec, type=JobSpec)))
os.kill(os.getpid(), signal.SIGKILL)
"""


class CountedHarness(FakeHarness):
    """The fake, behind the executor that counts."""

    def executor(self) -> Executor:
        return CountedExecutor(super().executor(), Counter())


class LocalHarness:
    """Real processes. Trainers are held by files in ``control``."""

    saved = JobStatus(state="ended", exit_code=0)

    def __init__(self, directory: Path) -> None:
        self.work_dir = directory / "work"
        self.jobs = self.work_dir / "jobs"
        self.queue = self.jobs / ".queue"
        self.control = directory / "control"
        self.control.mkdir()
        self._executors: list[LocalExecutor] = []

    async def open(self) -> None:
        pass

    def executor(self, slots: int = 1, gpus: Sequence[str] = ()) -> LocalExecutor:
        executor = LocalExecutor(self.work_dir, slots, STUB, {"CONTROL": str(self.control)}, gpus=gpus)
        self._executors.append(executor)
        return executor

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1) -> JobSpec:
        return _spec(job_id, stubborn=stubborn, attempt=attempt)

    def starts(self, spec: JobSpec) -> int:
        return len(self._reports(spec))

    def report(self, spec: JobSpec) -> list[str]:
        """Return pid, OMP_NUM_THREADS, OMP_WAIT_POLICY and CUDA_VISIBLE_DEVICES of the job's last start."""
        return self._reports(spec)[-1].split()

    def pid(self, spec: JobSpec) -> int:
        return int(self.report(spec)[0])

    async def running(self, spec: JobSpec) -> None:
        await wait_until(lambda: self.starts(spec) > 0, 30, f"{spec.job_id} to start")

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        temporary = self.control / "release"
        temporary.write_text(str(exit_code))
        temporary.rename(self.control / f"{spec.job_id}.{spec.attempt}.release")

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
        await wait_until((self.directory(spec) / EXIT).exists, 30, f"{spec.job_id} to end")

    async def kill(self, spec: JobSpec) -> None:
        os.kill(self.pid(spec), signal.SIGKILL)

    def worker_that_dies(self, spec: JobSpec) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself."""
        encoded = msgspec.json.encode(spec).decode()
        arguments = [str(self.work_dir), encoded, str(self.control), *STUB]
        return subprocess.Popen([sys.executable, "-c", DYING_WORKER, *arguments])

    async def submit_from_a_worker_that_dies(self, spec: JobSpec) -> None:
        with self.worker_that_dies(spec) as worker:
            await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
        assert worker.returncode == -signal.SIGKILL

    async def close(self) -> None:
        last = self.executor()
        assert await last.kill_all(), "jobs are left"
        for executor in self._executors:
            await executor.close()

    def _reports(self, spec: JobSpec) -> list[str]:
        path = self.control / f"{spec.job_id}.{spec.attempt}.started"
        return path.read_text().splitlines() if path.exists() else []
