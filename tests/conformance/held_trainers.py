"""What harnesses of real engines share: trainers that files hold, and workers that submit and die."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from handlers.ports.jobs import JobSpec, Resources
from tests.wait import wait_until

STUB = (sys.executable, "-I", "-S", str(Path(__file__).with_name("trainer_stub.py")))

#: Dies as a worker does under the OOM killer. ``executor_of`` of a harness' module gets what stands after the spec.
_DYING_WORKER = """
import asyncio, os, signal, sys
from importlib import import_module
import msgspec
from handlers.ports.jobs import JobSpec

module, spec, *arguments = sys.argv[1:]
executor = import_module(module).executor_of(*arguments)
asyncio.run(executor.submit(msgspec.json.decode(spec, type=JobSpec)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def dying_worker(
    module: str, spec: JobSpec, *arguments: object, environment: Mapping[str, str] = os.environ
) -> "subprocess.Popen[bytes]":
    """Start a worker that submits a spec by ``executor_of(*arguments)`` of a module, and then kills itself."""
    encoded = msgspec.json.encode(spec).decode()
    command = [sys.executable, "-c", _DYING_WORKER, module, encoded, *map(str, arguments)]
    return subprocess.Popen(command, env=environment)


def spec_of(job_id: str, *, stubborn: bool = False, attempt: int = 1, resources: Resources | None = None) -> JobSpec:
    """Return the spec of a job that runs until released; a stubborn one ignores SIGTERM."""
    return JobSpec(
        job_id=job_id,
        task_id="t",
        attempt=attempt,
        plan_key="stubborn" if stubborn else "polite",
        attempt_prefix="tasks/t/1/",
        resources=resources or Resources(),
    )


class DyingWorkers(Protocol):
    """Whoever can start a worker that dies."""

    def worker_that_dies(self, spec: JobSpec) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself."""
        ...


class HeldTrainers:
    """Trainers as of trainer_stub.py, held by files in ``control``. See Harness for what is not said here."""

    def __init__(self, control: Path) -> None:
        self.control = control
        control.mkdir(parents=True)

    def report(self, spec: JobSpec) -> list[str]:
        """Return pid, OMP_NUM_THREADS, OMP_WAIT_POLICY and CUDA_VISIBLE_DEVICES of the job's last start."""
        return self._reports(spec)[-1].split()

    def pid(self, spec: JobSpec) -> int:
        """Return the process that trains."""
        return int(self.report(spec)[0])

    def starts(self, spec: JobSpec) -> int:
        return len(self._reports(spec))

    async def running(self, spec: JobSpec) -> None:
        await wait_until(lambda: self.starts(spec) > 0, 60, f"{spec.job_id} to start")

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        temporary = self.control / "release"
        temporary.write_text(str(exit_code))
        temporary.rename(self.control / f"{spec.job_id}.{spec.attempt}.release")

    async def kill(self, spec: JobSpec) -> None:
        os.kill(self.pid(spec), signal.SIGKILL)

    async def submit_from_a_worker_that_dies(self: DyingWorkers, spec: JobSpec) -> None:
        with self.worker_that_dies(spec) as worker:
            await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
        assert worker.returncode == -signal.SIGKILL

    def _reports(self, spec: JobSpec) -> list[str]:
        path = self.control / f"{spec.job_id}.{spec.attempt}.started"
        return path.read_text().splitlines() if path.exists() else []
