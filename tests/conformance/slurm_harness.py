"""A hand inside a real Slurm: how its jobs start, end and are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.local.slurm import LocalSlurm
from handlers.ports import JobSpec, JobStatus, Resources
from tests.conformance.executor_harness import STUB
from tests.wait import wait_until
from worker.executors.remote import SPEC_VARIABLE
from worker.executors.slurm import SlurmExecutor

#: A worker that submits what it is given and then dies, as it does under the OOM killer.
DYING_WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from handlers.ports import JobSpec
from tests.conformance.slurm_harness import slurm_executor

directory, conf, spec = sys.argv[1:]
executor = slurm_executor(Path(directory), Path(conf))
asyncio.run(executor.submit(msgspec.json.decode(spec, type=JobSpec)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def slurm_executor(
    directory: Path, conf: Path, command: Sequence[str] = STUB, listing_seconds: float = 0
) -> SlurmExecutor:
    """Return an executor whose jobs are in ``directory``; their trainers are held by files in its ``control``."""
    control = directory / "control"
    control.mkdir(exist_ok=True)

    def environment(spec: JobSpec) -> dict[str, str]:
        return {SPEC_VARIABLE: msgspec.json.encode(spec).decode(), "CONTROL": str(control)}

    return SlurmExecutor(directory / "jobs", environment, command=command, conf=conf, listing_seconds=listing_seconds)


class SlurmHarness:
    """A cluster whose node has one GPU, which every job wants, unless told otherwise."""

    saved = JobStatus(state="ended", exit_code=0)

    def __init__(self, directory: Path, slurm: LocalSlurm | None = None) -> None:
        self.directory = directory
        self.slurm = slurm or LocalSlurm(gpus=1)
        self._executors: list[SlurmExecutor] = []

    async def open(self) -> None:
        """Start the cluster."""
        await self.slurm.__aenter__()

    def executor(self, command: Sequence[str] = STUB, listing_seconds: float = 0) -> SlurmExecutor:
        executor = slurm_executor(self.directory, self.slurm.conf, command, listing_seconds)
        self._executors.append(executor)
        return executor

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1) -> JobSpec:
        return JobSpec(
            job_id=job_id,
            task_id="t",
            attempt=attempt,
            plan_key="stubborn" if stubborn else "polite",
            attempt_prefix="tasks/t/1/",
            resources=Resources(gpus=1),
        )

    def starts(self, spec: JobSpec) -> int:
        return len(self._reports(spec))

    def pid(self, spec: JobSpec) -> int:
        """Return the process that trains."""
        return int(self._reports(spec)[-1].split()[0])

    async def running(self, spec: JobSpec) -> None:
        await wait_until(lambda: self.starts(spec) > 0, 30, f"{spec.job_id} to start")

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        control = self.directory / "control"
        temporary = control / "release"
        temporary.write_text(str(exit_code))
        temporary.rename(control / f"{spec.job_id}.{spec.attempt}.release")

    async def kill(self, spec: JobSpec) -> None:
        os.kill(self.pid(spec), signal.SIGKILL)

    def worker_that_dies(self, spec: JobSpec, path: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself; ``path`` is where it finds Slurm's commands."""
        encoded = msgspec.json.encode(spec).decode()
        arguments = [str(self.directory), str(self.slurm.conf), encoded]
        environment = os.environ | ({"PATH": path} if path else {})
        return subprocess.Popen([sys.executable, "-c", DYING_WORKER, *arguments], env=environment)

    async def submit_from_a_worker_that_dies(self, spec: JobSpec) -> None:
        with self.worker_that_dies(spec) as worker:
            await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
        assert worker.returncode == -signal.SIGKILL

    def commands(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        environment = os.environ | {"SLURM_CONF": str(self.slurm.conf), "TZ": "UTC"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout

    async def state_saved(self) -> None:
        """Return when the controller has saved all that has happened until now."""
        began = time.time_ns()
        self.commands("scontrol", "update", "JobId=1", "Comment=something to save")
        saved = self.slurm.conf.parent / "state" / "job_state"
        await wait_until(lambda: saved.exists() and saved.stat().st_mtime_ns > began, 30, "the state to be saved")

    async def close(self) -> None:
        await self.slurm.__aexit__(None, None, None)
        for executor in self._executors:
            await executor.close()

    def _reports(self, spec: JobSpec) -> list[str]:
        path = self.directory / "control" / f"{spec.job_id}.{spec.attempt}.started"
        return path.read_text().splitlines() if path.exists() else []
