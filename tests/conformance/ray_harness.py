"""A hand inside a real Ray: how its jobs start, end and are killed. One head serves many tests, one after the other."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from uuid import uuid4

import msgspec

from deploy.local.ray import RayHead
from handlers.ports.jobs import JobSpec, JobStatus, Resources
from tests.conformance.held_trainers import STUB, HeldTrainers, dying_worker, spec_of
from tests.wait import wait_until
from worker.executors.ray import RayExecutor
from worker.executors.remote import SPEC_VARIABLE

#: The longest grace of these executors: longer than a shorter one's killer takes to start on a loaded machine.
GRACE_SECONDS = 60


def executor_of(
    url: str, token_file: str | Path, owner: str, control: str | Path, command: Sequence[str] = STUB
) -> RayExecutor:
    """Return an executor whose trainers are held by files in ``control``."""

    def environment(spec: JobSpec) -> dict[str, str]:
        return {SPEC_VARIABLE: msgspec.json.encode(spec).decode(), "CONTROL": str(control)}

    return RayExecutor(
        url, environment, owner=owner, grace_seconds=GRACE_SECONDS, token_file=Path(token_file), command=command
    )


class RayHarness(HeldTrainers):
    """A head with one GPU, which every job wants. Its jobs are told from those of other tests by their owner."""

    #: Ray keeps no exit code of a job that it stopped.
    saved = JobStatus(state="ended")

    def __init__(self, head: RayHead, directory: Path, namespace: str = "") -> None:
        super().__init__(directory / namespace / "control")
        self.head = head
        self._base = directory
        self.owner = uuid4().hex
        self._executors: list[RayExecutor] = []
        self._specs: list[JobSpec] = []

    def beside(self, namespace: str) -> Self:
        return type(self)(self.head, self._base, namespace)

    async def open(self) -> None:
        pass

    def executor(self, url: str | None = None, command: Sequence[str] = STUB) -> RayExecutor:
        executor = executor_of(url or self.head.url, self.head.token_file, self.owner, self.control, command)
        self._executors.append(executor)
        return executor

    def spec(
        self, job_id: str, *, stubborn: bool = False, attempt: int = 1, resources: Resources | None = None
    ) -> JobSpec:
        spec = spec_of(job_id, stubborn=stubborn, attempt=attempt, resources=resources or Resources(gpus=1))
        self._specs.append(spec)
        return spec

    def worker_that_dies(self, spec: JobSpec, url: str | None = None) -> "subprocess.Popen[bytes]":
        """Start a worker that submits the spec and then kills itself."""
        return dying_worker(__name__, spec, url or self.head.url, self.head.token_file, self.owner, self.control)

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
