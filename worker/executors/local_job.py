"""One job of the local executor, as its directory tells it. Blocking file access throughout."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from handlers.ports.jobs import EndCause, JobSpec, JobState
from worker.executors.job_log import read_log
from worker.executors.job_supervisor import CANCEL, EXIT, SUPERVISOR, TRAINER, alive, ask_to_end, read, write

#: ``slots``: those the job takes while it runs. Written before it is started; counts only while it runs.
SLOTS = "slots.json"


@dataclass(frozen=True)
class LocalJob:
    """A job's directory. It exists from submit to forget; what is in it besides, see job_supervisor.

    Nothing is remembered in this object: any process sees the same.
    """

    path: Path

    @property
    def spec_path(self) -> Path:
        """Return the file that holds the job's spec: the trainer's argument."""
        return self.path / "spec.json"

    @property
    def log_path(self) -> Path:
        """Return the file that takes what supervisor and trainer print."""
        return self.path / "log"

    def spec(self) -> JobSpec | None:
        """Return the spec the job was submitted with, or None where it never was."""
        try:
            return msgspec.json.decode(self.spec_path.read_bytes(), type=JobSpec)
        except FileNotFoundError:
            return None

    def ticket(self) -> int:
        """Return the job's number in the queue; lower ones are first. 0 where there is no such job."""
        return int((read(self.path / "ticket.json") or {}).get("ticket", 0))

    def create(self, spec: JobSpec, ticket: int) -> None:
        """Make the job, whole or not at all. Call it under the executor's lock, where there is none."""
        new = self.path.with_name(".new")
        shutil.rmtree(new, ignore_errors=True)  # what a killed worker left
        new.mkdir()
        write(new / "spec.json", msgspec.to_builtins(spec))
        write(new / "ticket.json", {"ticket": ticket})
        new.rename(self.path)

    def state(self) -> JobState:
        """Return the job's state; ``unknown`` also where its processes vanished without a word."""
        if self._read(EXIT) is not None:
            return "ended"
        supervisor = self._read(SUPERVISOR)
        if supervisor is None:
            if not self.spec_path.exists():
                return "unknown"
            return "ended" if self._read(CANCEL) is not None else "queued"
        # A trainer may outlive a supervisor that somebody killed. It still trains, and still holds its slot.
        if alive(supervisor) or alive(self._read(TRAINER)):
            return "running"
        # It may have ended between the first look and the second.
        return "unknown" if self._read(EXIT) is None else "ended"

    def waits(self) -> bool:
        """Return whether the job waits, as far as a glance tells: one that was just started still seems to."""
        return self.spec_path.exists() and not (self.path / CANCEL).exists()

    def exit_code(self) -> int | None:
        """Return the exit code (minus the signal where one killed it), or None where there is none."""
        code: int | None = (self._read(EXIT) or {}).get("exit_code")
        return code

    def cause(self) -> EndCause | None:
        """Return why the job was ended, where its time limit is why."""
        return "time-limit" if (self._read(EXIT) or {}).get("time_limit") else None

    def wanted_slots(self) -> int:
        """Return how many slots the job needs."""
        spec = self.spec()
        return max(1, spec.resources.gpus) if spec else 1

    def slots(self) -> tuple[int, ...]:
        """Return the slots the job has while it runs; the first one where nobody wrote it down."""
        return tuple((self._read(SLOTS) or {}).get("slots", (0,)))

    def take(self, slots: Sequence[int]) -> None:
        """Write down the slots the job is started with. Call it under the executor's lock."""
        write(self.path / SLOTS, {"slots": list(slots)}, once=False)

    def cancel(self, grace_seconds: float) -> None:
        """Ask the job to end; its supervisor kills it after the grace. May be repeated.

        The shortest grace of all wishes holds. A queued job ends at once, without ever running.
        """
        if self.state() not in ("queued", "running"):
            return
        ask_to_end(self.path, grace_seconds)
        supervisor = self._read(SUPERVISOR)
        _send(supervisor if alive(supervisor) else self._read(TRAINER), signal.SIGTERM)

    def kill_if_overdue(self) -> None:
        """Kill a trainer that has no supervisor left to do so, once its grace is over."""
        wish, trainer = self._read(CANCEL), self._read(TRAINER)
        if wish is None or trainer is None or alive(self._read(SUPERVISOR)) or not alive(trainer):
            return
        if time.time() - (self.path / CANCEL).stat().st_mtime >= wish["grace_seconds"]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(trainer["pid"], signal.SIGKILL)

    def log(self, cursor: int) -> tuple[str, int]:
        """Return what is in the log from byte ``cursor`` on, and the byte to go on from; see read_log."""
        return read_log(self.log_path, cursor)

    def remove(self) -> None:
        """Remove the job, at once for whoever looks. Call it under the executor's lock, after its end."""
        gone = self.path.with_name(".gone")
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _read(self, name: str) -> dict[str, Any] | None:
        return read(self.path / name)


def _send(identity: dict[str, Any] | None, number: int) -> None:
    if identity is None:
        return
    with contextlib.suppress(ProcessLookupError):
        # The descriptor stays with this process, even if its number becomes another's before the signal.
        process = os.pidfd_open(identity["pid"])
        try:
            if alive(identity):
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)
