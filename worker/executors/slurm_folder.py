"""A Slurm job's folder on the file system that worker and nodes share. Blocking file access throughout."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from worker.executors.job_log import read_log
from worker.executors.job_supervisor import CANCEL, EXIT, SUPERVISOR, ask_to_end, read, write

_SPEC = "spec.json"


class Trace(NamedTuple):
    """What a job's folder tells: whether there is one, the job has begun, it was asked to end, and how it ended."""

    known: bool = False
    begun: bool = False
    asked_to_end: bool = False
    ended: bool = False
    exit_code: int | None = None


@dataclass(frozen=True)
class JobFolder:
    """Exists from submit to forget, longer than Slurm remembers. Besides the spec's digest and the log it holds what
    the job's supervisor writes, see job_supervisor: that is why a job begins at most once, whatever Slurm does.
    """

    path: Path

    @property
    def log_path(self) -> Path:
        """Return the file that takes what the job prints."""
        return self.path / "log"

    def create(self, digest: str) -> None:
        """Make the folder for a spec, once. Raises ValueError where it was made for another one."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not write(self.path / _SPEC, {"digest": digest}) and read(self.path / _SPEC) != {"digest": digest}:
            raise ValueError(f"{self.path.name} was submitted with another spec")

    def trace(self) -> Trace:
        """Return what is known of the job."""
        ended = read(self.path / EXIT)
        return Trace(
            known=(self.path / _SPEC).exists(),
            begun=(self.path / SUPERVISOR).exists(),
            asked_to_end=(self.path / CANCEL).exists(),
            ended=ended is not None,
            exit_code=(ended or {}).get("exit_code"),
        )

    def ask_to_end(self, grace_seconds: float) -> None:
        """Tell the job's supervisor to end it, now or when it begins. The shortest grace holds; unknown is no error."""
        if self.path.is_dir():
            ask_to_end(self.path, grace_seconds)

    def log(self, cursor: int) -> tuple[str, int]:
        """Return what the job printed from byte ``cursor`` on, and the byte to go on from; see read_log."""
        return read_log(self.log_path, cursor)

    def remove(self) -> None:
        """Remove the folder. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
