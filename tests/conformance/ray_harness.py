"""A hand inside a real Ray: how its jobs start, end and are killed. One head serves many tests, one after the other."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import msgspec

from deploy.local.ray import RayHead
from handlers.ports import JobSpec, JobStatus, Resources
from tests.conformance.executor_harness import STUB
from tests.wait import wait_until
from worker.executors.ray import RayExecutor
from worker.executors.remote import SPEC_VARIABLE

#: The longest grace of these executors.
GRACE_SECONDS = 30

#: A worker that submits what it is given, then dies as it does under the OOM killer.
DYING_WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from handlers.ports import JobSpec
from tests.conformance.ray_harness import executor_of

url, token_file, owner, control, spec = sys.argv[1:]
executor = executor_of(url, Path(token_file), owner, Path(control))
asyncio.run(executor.submit(msgspec.json.decode(spec, type=JobSpec)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def executor_of(url: str, token_file: Path, owner: str, control: Path, command: Sequence[str] = STUB) -> RayExecutor:
    """Return an executor whose trainers are held by files in ``control``."""

    def environment(spec: JobSpec) -> dict[str, str]:
        return {SPEC_VARIABLE: msgspec.json.encode(spec).decode(), "CONTROL": str(control)}

    return RayExecutor(
        url, environment, owner=owner, grace_seconds=GRACE_SECONDS, token_file=token_file, command=command
    )


class RayHarness:
    """A head with one GPU, which every job wants. Its jobs are told from those of other tests by their owner."""

    #: Ray keeps no exit code of a job that it stopped.
    saved = JobStatus(state="ended")

    def __init__(self, head: RayHead, directory: Path) -> None:
        self.head = head
        self.control = directory / "control"
        self.control.mkdir()
        self.owner = uuid4().hex
        self._executors: list[RayExecutor] = []
        self._specs: list[JobSpec] = []

    async def open(self) -> None:
        pass

    def executor(self, url: str | None = None, command: Sequence[str] = STUB) -> RayExecutor:
        executor = executor_of(url or self.head.url, self.head.token_file, self.owner, self.control, command)
        self._executors.append(executor)
        return executor

    def spec(
        self, job_id: str, *, stubborn: bool = False, attempt: int = 1, resources: Resources | None = None
    ) -> JobSpec:
        spec = JobSpec(
            job_id=job_id,
            task_id="t",
            attempt=attempt,
            plan_key="stubborn" if stubborn else "polite",
            attempt_prefix="tasks/t/1/",
            resources=resources or Resources(gpus=1),
        )
        self._specs.append(spec)
        return spec

    def starts(self, spec: JobSpec) -> int:
        return len(self._reports(spec))

    def pid(self, spec: JobSpec) -> int:
        """Return the process that trains."""
        return int(self._reports(spec)[-1].split()[0])

    async def running(self, spec: JobSpec) -> None:
        await wait_until(lambda: self.starts(spec) > 0, 30, f"{spec.job_id} to start")

    async def end(self, spec: JobSpec, exit_code: int) -> None:
        temporary = self.control / "release"
        temporary.write_text(str(exit_code))
        temporary.rename(self.control / f"{spec.job_id}.{spec.attempt}.release")

    async def kill(self, spec: JobSpec) -> None:
        os.kill(self.pid(spec), signal.SIGKILL)

    def worker_that_dies(self, spec: JobSpec, url: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself."""
        encoded = msgspec.json.encode(spec).decode()
        arguments = [url or self.head.url, str(self.head.token_file), self.owner, str(self.control), encoded]
        return subprocess.Popen([sys.executable, "-c", DYING_WORKER, *arguments])

    async def submit_from_a_worker_that_dies(self, spec: JobSpec) -> None:
        with self.worker_that_dies(spec) as worker:
            await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
        assert worker.returncode == -signal.SIGKILL

    async def close(self) -> None:
        """Let every job end: the next test needs the GPU."""
        for spec in self._specs:
            await self.end(spec, 0)
        last = self.executor()

        async def none_is_left() -> bool:
            return all(job.state in ("ended", "unknown") for job in await last.jobs())

        await wait_until(none_is_left, 60, "the jobs to end")
        for executor in self._executors:
            await executor.close()

    def _reports(self, spec: JobSpec) -> list[str]:
        path = self.control / f"{spec.job_id}.{spec.attempt}.started"
        return path.read_text().splitlines() if path.exists() else []
