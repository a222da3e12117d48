"""The round's training jobs, as the folder of the local executor tells."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from handlers import layout
from handlers.ports.jobs import JobSpec
from worker.executors.job_supervisor import SUPERVISOR, TRAINER, alive, read
from worker.executors.local_job import LocalJob


class Job(NamedTuple):
    """One attempt's job."""

    folder: Path
    spec: JobSpec

    @property
    def name(self) -> str:
        """Return the task and the attempt, for people."""
        return f"{self.spec.task_id} attempt {self.spec.attempt}"

    @property
    def prefix(self) -> str:
        """Return the attempt's prefix in the bucket."""
        return layout.attempt(self.spec.task_id, self.spec.attempt)

    @property
    def resumed_step(self) -> int:
        """Return the step of the checkpoint that it was told to go on from; 0 for the beginning."""
        return step_of(self.spec.resume_from) if self.spec.resume_from else 0

    @property
    def exit_code(self) -> int | None:
        """Return how its trainer ended; None where it has not, or where nobody was left to see it."""
        return LocalJob(self.folder).exit_code()

    def trainer(self) -> int | None:
        """Return the pid of its trainer, while that runs."""
        return self._pid(TRAINER)

    def supervisor(self) -> int | None:
        """Return the pid of its supervisor, while that runs."""
        return self._pid(SUPERVISOR)

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return what the trainer logged under a name. The stand-in logs nothing."""
        return [line for line in self._lines() if line.get("event") == event]

    def _pid(self, file: str) -> int | None:
        identity = read(self.folder / file)
        return int(identity["pid"]) if identity and alive(identity) else None

    def _lines(self) -> Iterator[dict[str, Any]]:
        log = self.folder / "log"  # one that was cancelled in the queue has none
        for line in log.read_bytes().splitlines() if log.exists() else ():
            if line.startswith(b"{"):
                yield json.loads(line)


def jobs_of(work_dir: Path) -> list[Job]:
    """Return every job that was ever submitted, by task and attempt."""
    found = [
        Job(spec.parent, msgspec.json.decode(spec.read_bytes(), type=JobSpec))
        for spec in (work_dir / "jobs").rglob("spec.json")
        if not spec.parent.name.startswith(".")
    ]
    return sorted(found, key=lambda job: (job.spec.task_id, job.spec.attempt))


def running(work_dir: Path) -> list[Job]:
    """Return the jobs whose trainers run now."""
    return [job for job in jobs_of(work_dir) if job.trainer() is not None]


def step_of(checkpoint: str) -> int:
    """Return the step in a checkpoint's key or URI."""
    return int(checkpoint.rstrip("/").rpartition("step-")[2])
