"""All jobs of the local executor, as one directory tells them: who is next, on which slots. Blocking throughout."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from handlers.errors import Unavailable
from handlers.layout import segment
from handlers.ports.jobs import JobListed, JobSpec, JobStatus
from worker.executors import job_supervisor
from worker.executors.local_gpus import VISIBLE, chosen, gpus_of
from worker.executors.local_job import LocalJob
from worker.executors.local_lock import locked
from worker.executors.local_queue import Entry, LocalQueue
from worker.executors.remote import traced

#: Seconds a supervisor has to record itself. It takes tens of milliseconds; a swapping machine takes longer.
START_SECONDS = 30.0
#: Seconds to wait for the directory's lock: longer than another worker may hold it.
LOCK_SECONDS = 60.0

_log = structlog.get_logger()


class LocalJobs:
    """The jobs of a namespace in a directory, which several processes may share. For one thread.

    Those of all namespaces take the same slots, and have one lock; each has a queue of its own, since only its own
    workers know what to start its jobs with. Remembered is only what spares looking again: the places in the queue.
    """

    def __init__(
        self,
        root: Path,
        namespace: str,
        slots: int,
        gpus: Sequence[str],
        command: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.root, self.path = root, root / namespace
        self._slots = slots
        self._gpus = tuple(gpus)
        self._command = tuple(command)
        self._environment = dict(environment)
        self._queue = LocalQueue(self.path)
        self._prepared = False
        #: Places of the queued jobs by name, from 1; empty: look again.
        self._places: dict[str, int] = {}
        #: Jobs that were said to be too big.
        self._too_big: set[str] = set()

    def job(self, job_id: str, attempt: int) -> LocalJob:
        """Return a job, which need not be there. Raises ValueError for what is no id."""
        if not job_id or "/" in job_id:
            raise ValueError(f"not a job id: {job_id!r}")
        return LocalJob(self.path / f"{segment(job_id)}.{attempt}")

    def submit(self, spec: JobSpec) -> None:
        """Start a job, or queue it where the slots are taken. Raises as Executor.submit does.

        Costs the same however many jobs there are, while all slots are taken.
        """
        job = self.job(spec.job_id, spec.attempt)
        with self._locked_for_long():
            known = job.spec()
            if known is None:
                job.create(spec, self._queue.add(job.path.name).number)
            elif known.job != spec.job:
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
        job.cancel(grace_seconds)
        if job.state() == "ended":
            self._queue.drop(_entry(job))
        self._places = {}

    def cancel_all(self) -> None:
        """Kill every job."""
        for entry in (*self._queue.waiting(), *self._queue.started()):
            self.cancel(self._at(entry), 0)

    def running(self) -> bool:
        """Return whether any job runs."""
        return any(self._at(entry).state() == "running" for entry in self._queue.started())

    def listed(self) -> Sequence[JobListed]:
        """Return every job, in the order they were submitted."""
        specs = [(job, job.spec()) for job in self._jobs()]
        return [JobListed(spec.job_id, spec.attempt, job.state()) for job, spec in specs if spec]

    def forget(self, job: LocalJob) -> None:
        """Remove a job that neither runs nor waits."""
        with self._locked_for_long():
            if job.state() not in ("queued", "running"):
                self._queue.drop(_entry(job))
                job.remove()

    def tick(self) -> None:
        """Start what is due; kill what outlived its supervisor and its grace."""
        # Where the lock is taken, whoever has it starts what is due; if it cannot, the next tick can.
        with self._locked(0) as held:
            self._places = {}
            if held:
                self._start_due()

    def _at(self, entry: Entry) -> LocalJob:
        return LocalJob(self.path / entry.name)

    def _jobs(self) -> list[LocalJob]:
        """Return the jobs in the order they were submitted."""
        if not self.path.is_dir():
            return []
        found = [LocalJob(path) for path in self.path.iterdir() if not path.name.startswith(".")]
        return sorted(found, key=LocalJob.ticket)

    def _position(self, job: LocalJob) -> int | None:
        # One that was submitted since is not among them yet.
        if job.path.name not in self._places:
            waiting = [entry.name for entry in self._queue.waiting() if self._at(entry).waits()]
            self._places = {name: place for place, name in enumerate(waiting, 1)}
        return self._places.get(job.path.name)

    def _start_due(self) -> None:
        """Start what waits, as far as there are slots. Call it under the lock."""
        taken = self._taken()
        if len(taken) >= self._slots:
            return
        for entry in self._queue.waiting():
            job = self._at(entry)
            state = job.state()
            if state == "running":  # it was put back, and began all the same
                self._queue.start(entry)
                taken.update(job.slots())
            elif state != "queued":
                self._queue.drop(entry)
            elif self._fits(job):
                free = [slot for slot in range(self._slots) if slot not in taken]
                slots = chosen(free, job.wanted_slots(), self._gpus)
                if slots is None:
                    return  # those behind it wait too: else a job that needs many slots would wait for ever
                self._start(entry, slots)
                taken.update(slots)

    def _taken(self) -> set[int]:
        """Return the slots of the jobs that run, whose ever they are. Call it under the lock."""
        taken: set[int] = set()
        for queue in LocalQueue.every(self.root):
            for entry in queue.started():
                job = LocalJob(queue.jobs / entry.name)
                state = job.state()
                if state == "running":
                    job.kill_if_overdue()
                    taken.update(job.slots())
                elif state == "queued":  # whoever was about to start it died
                    queue.put_back(entry)
                else:
                    queue.drop(entry)
        return taken

    def _fits(self, job: LocalJob) -> bool:
        """Return whether there are slots enough for a job, taken or not. One that is too big holds up nobody."""
        if chosen(range(self._slots), job.wanted_slots(), self._gpus) is not None:
            return True
        if job.path.name not in self._too_big:
            self._too_big.add(job.path.name)
            _log.error("job.too_big", job=job.path.name, wanted=job.wanted_slots(), slots=self._slots, gpus=self._gpus)
        return False

    def _start(self, entry: Entry, slots: Sequence[int]) -> None:
        job = self._at(entry)
        gpus = gpus_of(slots, self._gpus)
        own = {**_thread_limits(len(slots), self._slots), **({VISIBLE: ",".join(gpus)} if gpus else {})}
        own |= traced(spec) if (spec := job.spec()) else {}
        supervisor = (sys.executable, "-I", "-S", job_supervisor.__file__, str(job.path))
        self._places = {}
        if not self._queue.start(entry):
            return  # cancelled a moment ago
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
            self._queue.put_back(entry)
            _log.error("job.start_failed", job=job.path.name, error=str(error))

    @contextlib.contextmanager
    def _locked_for_long(self) -> Iterator[None]:
        with self._locked(LOCK_SECONDS) as held:
            if not held:
                raise Unavailable(f"{self.root} has been locked for {LOCK_SECONDS} s")
            yield

    @contextlib.contextmanager
    def _locked(self, wait_seconds: float) -> Iterator[bool]:
        with locked(self.root, wait_seconds) as held:
            if held:
                self._prepare()
            yield held

    def _prepare(self) -> None:
        if not self._prepared:
            self._queue.prepare((_entry(job), job.state()) for job in self._jobs())
            self._prepared = True


def _entry(job: LocalJob) -> Entry:
    return Entry(job.ticket(), job.path.name)


def _thread_limits(taken: int, slots: int) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) * taken // slots)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
