"""A hand inside a real Slurm: how its jobs start, end and are killed."""

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from deploy.local.slurm import LocalSlurm
from handlers.ports.jobs import JobSpec, JobStatus, Resources
from tests.conformance.held_trainers import STUB, HeldTrainers, dying_worker, spec_of
from tests.wait import wait_until
from worker.executors.remote import SPEC_VARIABLE
from worker.executors.slurm import SlurmExecutor

ONE_GPU = Resources(gpus=1)


def executor_of(
    jobs_dir: str | Path,
    control: str | Path,
    conf: str | Path,
    namespace: str = "",
    command: Sequence[str] = STUB,
    listing_seconds: float = 0,
) -> SlurmExecutor:
    """Return an executor whose trainers are held by files in ``control``."""

    def environment(spec: JobSpec) -> dict[str, str]:
        return {SPEC_VARIABLE: msgspec.json.encode(spec).decode(), "CONTROL": str(control)}

    return SlurmExecutor(
        Path(jobs_dir),
        environment,
        command=command,
        namespace=namespace,
        conf=Path(conf),
        listing_seconds=listing_seconds,
    )


class SlurmHarness(HeldTrainers):
    """A cluster whose node has one GPU, which every job wants, unless told otherwise."""

    saved = JobStatus(state="ended", exit_code=0)

    def __init__(self, directory: Path, slurm: LocalSlurm | None = None, namespace: str = "") -> None:
        super().__init__(directory / namespace / "control")
        self._base, self._namespace = directory, namespace
        self.jobs_dir = directory / "jobs"
        self.slurm = slurm or LocalSlurm(gpus=1)
        self._executors: list[SlurmExecutor] = []

    def beside(self, namespace: str) -> Self:
        return type(self)(self._base, self.slurm, namespace)

    async def open(self) -> None:
        """Start the cluster."""
        await self.slurm.__aenter__()

    def executor(self, command: Sequence[str] = STUB, listing_seconds: float = 0) -> SlurmExecutor:
        executor = executor_of(self.jobs_dir, self.control, self.slurm.conf, self._namespace, command, listing_seconds)
        self._executors.append(executor)
        return executor

    def spec(self, job_id: str, *, stubborn: bool = False, attempt: int = 1, resources: Resources = ONE_GPU) -> JobSpec:
        return spec_of(job_id, stubborn=stubborn, attempt=attempt, resources=resources)

    def worker_that_dies(self, spec: JobSpec, path: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself; ``path`` is where it finds Slurm's commands."""
        environment = os.environ | ({"PATH": path} if path else {})
        return dying_worker(
            __name__, spec, self.jobs_dir, self.control, self.slurm.conf, self._namespace, environment=environment
        )

    def commands(self, *command: str) -> str:
        """Run one of Slurm's commands; return what it printed."""
        environment = os.environ | {"SLURM_CONF": str(self.slurm.conf), "TZ": "UTC"}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout

    async def state_saved(self) -> None:
        """Return when the controller has saved all that has happened until now. There must be a job."""
        job, *_ = self.commands("squeue", "--noheader", "--format=%A").split()
        began = time.time_ns()
        self.commands("scontrol", "update", f"JobId={job}", "Comment=something to save")
        saved = self.slurm.conf.parent / "state" / "job_state"
        await wait_until(lambda: saved.exists() and saved.stat().st_mtime_ns > began, 60, "the state to be saved")

    async def close(self) -> None:
        await self.slurm.__aexit__(None, None, None)
        for executor in self._executors:
            await executor.close()
