"""All jobs of the local executor, as one directory tells them: who is next, on which slots. Blocking throughout."""

import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from handlers.errors import Unavailable
from handlers.layout import segment
from handlers.ports import JobListed, JobSpec, JobState, JobStatus
from worker.executors import local_supervisor
from worker.executors.local_gpus import VISIBLE, chosen, gpus_of
from worker.executors.local_job import LocalJob

#: Seconds a supervisor has to record itself. It takes tens of milliseconds; a swapping machine takes longer.
START_SECONDS = 30.0
#: Seconds to wait for the directory's lock: longer than another worker may hold it.
LOCK_SECONDS = 60.0

_log = structlog.get_logger()


class LocalJobs:
    """The jobs of a directory, which several processes may share. For one thread.

    Remembered is only what spares looking again: jobs that have ended, and the order of the queue.
    """

    def __init__(
        self, path: Path, slots: int, gpus: Sequence[str], command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self.path = path
        self._slots = slots
        self._gpus = tuple(gpus)
        self._command = tuple(command)
        self._environment = dict(environment)
        #: Names of the queued jobs in order; None: look again.
        self._queue: list[str] | None = None
        #: Directories of jobs that have ended, by name and inode: there may be thousands, and they do not change.
        self._ended: set[tuple[str, int]] = set()
        #: Jobs that were said to be too big.
        self._too_big: set[str] = set()

    def job(self, job_id: str, attempt: int) -> LocalJob:
        """Return a job, which need not be there. Raises ValueError for what is no id."""
        if not job_id or "/" in job_id:
            raise ValueError(f"not a job id: {job_id!r}")
        return LocalJob(self.path / f"{segment(job_id)}.{attempt}")

    def submit(self, spec: JobSpec) -> None:
        """Start a job, or queue it where the slots are taken. Raises as Executor.submit does."""
        job = self.job(spec.job_id, spec.attempt)
        with self._locked_for_long():
            known = job.spec()
            if known is None:
                others = self._jobs()
                job.create(spec, ticket=others[-1].ticket() + 1 if others else 1)
            elif known != spec:
                raise ValueError(f"job {spec.job_id} attempt {spec.attempt} was submitted with another spec")
            self._start_due()

    def status(self, job: LocalJob) -> JobStatus:
        """Return what is known of a job."""
        state = job.state()
        if state == "ended":
            return JobStatus(state=state, exit_code=job.exit_code(), cause=job.cause())
        if state == "queued":
            return JobStatus(state=state, queue_position=self._position(job))
        return JobStatus(state=state)

    def cancel(self, job: LocalJob, grace_seconds: float) -> None:
        """Ask a job to end."""
        self._queue = None
        job.cancel(grace_seconds)

    def cancel_all(self) -> None:
        """Kill every job."""
        for job, _ in self._states():
            self.cancel(job, 0)

    def running(self) -> bool:
        """Return whether any job runs."""
        return any(state == "running" for _, state in self._states())

    def listed(self) -> Sequence[JobListed]:
        """Return every job, in the order they were submitted."""
        specs = [(job, job.spec()) for job in self._jobs()]
        return [JobListed(spec.job_id, spec.attempt, job.state()) for job, spec in specs if spec]

    def forget(self, job: LocalJob) -> None:
        """Remove a job that neither runs nor waits."""
        with self._locked_for_long():
            if job.state() not in ("queued", "running"):
                job.remove()

    def tick(self) -> None:
        """Start what is due; kill what outlived its supervisor and its grace."""
        # Where the lock is taken, whoever has it starts what is due; if it cannot, the next tick can.
        with self._locked(0) as locked:
            if locked:
                self._start_due()

    def _jobs(self, *, ended: bool = True) -> list[LocalJob]:
        """Return the jobs in the order they were submitted; without those known to have ended, where not wanted."""
        if not self.path.is_dir():
            return []
        with os.scandir(self.path) as entries:
            found = [(entry.name, entry.inode()) for entry in entries if not entry.name.startswith(".")]
        self._ended &= set(found)
        wanted = [name for name, inode in found if ended or (name, inode) not in self._ended]
        return sorted((LocalJob(self.path / name) for name in wanted), key=LocalJob.ticket)

    def _states(self) -> list[tuple[LocalJob, JobState]]:
        """Return the jobs that may still change, each with its state."""
        states = [(job, job.state()) for job in self._jobs(ended=False)]
        for job, state in states:
            if state == "ended":
                with contextlib.suppress(FileNotFoundError):
                    self._ended.add((job.path.name, job.path.stat().st_ino))
        return states

    def _position(self, job: LocalJob) -> int | None:
        if self._queue is None:
            self._queue = [other.path.name for other, state in self._states() if state == "queued"]
        return self._queue.index(job.path.name) + 1 if job.path.name in self._queue else None

    def _start_due(self) -> None:
        self._queue = None
        states = self._states()
        for job, state in states:
            if state == "running":
                job.kill_if_overdue()
        taken = {slot for job, state in states if state == "running" for slot in job.slots()}
        for job in (job for job, state in states if state == "queued" and self._fits(job)):
            free = [slot for slot in range(self._slots) if slot not in taken]
            slots = chosen(free, job.wanted_slots(), self._gpus)
            if slots is None:
                return  # those behind it wait too: else a job that needs many slots would wait for ever
            self._start(job, slots)
            taken.update(slots)

    def _fits(self, job: LocalJob) -> bool:
        """Return whether there are slots enough for a job, taken or not. One that is too big holds up nobody."""
        if chosen(range(self._slots), job.wanted_slots(), self._gpus) is not None:
            return True
        if job.path.name not in self._too_big:
            self._too_big.add(job.path.name)
            _log.error("job.too_big", job=job.path.name, wanted=job.wanted_slots(), slots=self._slots, gpus=self._gpus)
        return False

    def _start(self, job: LocalJob, slots: Sequence[int]) -> None:
        gpus = gpus_of(slots, self._gpus)
        own = {**_thread_limits(len(slots), self._slots), **({VISIBLE: ",".join(gpus)} if gpus else {})}
        supervisor = (sys.executable, "-I", "-S", local_supervisor.__file__, str(job.path))
        try:
            job.take(slots)
            with job.log_path.open("ab") as log:
                subprocess.run(  # noqa: S603 - the operator's command, never a user's
                    (*supervisor, *self._command, str(job.spec_path)),
                    env={**os.environ, **own, **self._environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=START_SECONDS,
                    check=True,
                )
        except (OSError, subprocess.SubprocessError) as error:
            # It stays queued, and the next tick tries again.
            _log.error("job.start_failed", job=job.path.name, error=str(error))

    @contextlib.contextmanager
    def _locked_for_long(self) -> Iterator[None]:
        with self._locked(LOCK_SECONDS) as locked:
            if not locked:
                raise Unavailable(f"{self.path} has been locked for {LOCK_SECONDS} s")
            yield

    @contextlib.contextmanager
    def _locked(self, wait_seconds: float) -> Iterator[bool]:
        """Hold the directory's lock, which dies with this process; yield whether it is held."""
        self.path.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + wait_seconds
        with (self.path / ".lock").open("wb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        yield False
                        return
                    time.sleep(0.02)
                else:
                    yield True
                    return


def _thread_limits(taken: int, slots: int) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) * taken // slots)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
