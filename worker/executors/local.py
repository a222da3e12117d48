"""The local executor: training jobs as processes of this machine. All its state is a directory."""

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from handlers.errors import Unavailable
from handlers.layout import segment
from handlers.ports import JobListed, JobSpec, JobStatus
from worker.executors import local_supervisor
from worker.executors.local_job import LocalJob

TRAINER_COMMAND = (sys.executable, "-m", "worker.trainer")
#: Seconds a supervisor has to record itself. It takes tens of milliseconds; a swapping machine takes longer.
START_SECONDS = 30.0
#: Seconds to wait for the directory's lock: longer than another worker may hold it.
LOCK_SECONDS = 60.0

Result = TypeVar("Result")
_log = structlog.get_logger()


class LocalExecutor:
    """An Executor whose jobs outlive every worker. Workers of one machine may share ``work_dir``.

    At most ``slots`` jobs run at a time, the others queue first come, first served; ``queue_position`` counts
    from 1. A job is started at most once in its life; one whose processes vanished (a reboot) is ``unknown``.
    Children that leave the trainer's process group are not killed with it.

    ``command`` gets the path of the spec as its last argument. Jobs see this process's environment with
    ``environment`` on top; OpenMP's threads are bounded, else two jobs slow each other down tenfold. Queued
    jobs are started by ``run`` (every ``interval_seconds``), and by ``submit``, ``status`` and ``tick``.
    """

    name = "local"

    def __init__(
        self,
        work_dir: Path,
        slots: int,
        command: Sequence[str] = TRAINER_COMMAND,
        environment: Mapping[str, str] | None = None,
        *,
        interval_seconds: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots is {slots}: nothing would ever run")
        self._jobs_dir = work_dir.absolute() / "jobs"
        self._slots = slots
        self._command = tuple(command)
        self._environment = {**_thread_limits(slots), **(environment or {})}
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        # One thread: file access and starting leave the event loop alone, and never fill the loop's own pool.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-executor")

    async def submit(self, spec: JobSpec) -> None:
        """Start a job, or queue it where all slots are taken. See Executor; returns when it is on disk."""
        await self._off_loop(lambda: self._submit(spec))

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what the directory tells of a job. See Executor."""
        return await self._off_loop(lambda: self._status(self._job(job_id, attempt)))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end. See Executor; the shortest grace asked for holds, even if every worker dies."""
        await self._off_loop(lambda: self._job(job_id, attempt).cancel(grace_seconds))

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job printed from byte ``cursor`` on, 1 MiB at most, and the byte to go on from."""
        return await self._off_loop(lambda: self._job(job_id, attempt).log(cursor))

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job of the directory, in the order they were submitted. See Executor."""
        return await self._off_loop(self._list)

    async def forget(self, job_id: str, attempt: int) -> None:
        """Remove an ended or lost job's directory; a queued or running job stays. Idempotent."""
        await self._off_loop(lambda: self._forget(self._job(job_id, attempt)))

    async def tick(self) -> None:
        """Start what is due; kill what outlived its supervisor and its grace. May be called at any time."""
        await self._off_loop(self._tick)

    async def run(self) -> None:
        """Tick until cancelled. A directory that cannot be used is logged and tried again."""
        while True:
            try:
                await self.tick()
            except Unavailable as error:
                _log.warning("executor.unavailable", executor=self.name, error=str(error))
            await self._sleep(self._interval_seconds)

    async def close(self) -> None:
        """Let go of this object's thread. Jobs run on, queued ones wait for a worker. May be called twice."""
        await asyncio.to_thread(self._thread.shutdown)

    async def kill_all(self, wait_seconds: float = 10.0) -> bool:
        """Kill every job of the directory, whoever started it; return whether none is left after the wait."""
        deadline = time.monotonic() + wait_seconds
        await self._off_loop(self._cancel_all)
        while await self._off_loop(self._running):
            if time.monotonic() >= deadline:
                return False
            await self.tick()
            await self._sleep(0.05)
        return True

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise Unavailable(f"{self._jobs_dir}: {error}") from error

    # --- from here on: in the thread ------------------------------------------------------------------------

    def _job(self, job_id: str, attempt: int) -> LocalJob:
        if not job_id or "/" in job_id:
            raise ValueError(f"not a job id: {job_id!r}")
        return LocalJob(self._jobs_dir / f"{segment(job_id)}.{attempt}")

    def _jobs(self) -> list[LocalJob]:
        if not self._jobs_dir.is_dir():
            return []
        found = [LocalJob(path) for path in self._jobs_dir.iterdir() if not path.name.startswith(".")]
        return sorted(found, key=LocalJob.ticket)

    def _running(self) -> list[LocalJob]:
        return [job for job in self._jobs() if job.state() == "running"]

    def _cancel_all(self) -> None:
        for job in self._jobs():
            job.cancel(0)

    def _submit(self, spec: JobSpec) -> None:
        job = self._job(spec.job_id, spec.attempt)
        with self._locked(LOCK_SECONDS) as locked:
            if not locked:
                raise Unavailable(f"{self._jobs_dir} has been locked for {LOCK_SECONDS} s")
            known = job.spec()
            if known is None:
                others = self._jobs()
                job.create(spec, ticket=others[-1].ticket() + 1 if others else 1)
            elif known != spec:
                raise ValueError(f"job {spec.job_id} attempt {spec.attempt} was submitted with another spec")
            self._start_due()

    def _status(self, job: LocalJob) -> JobStatus:
        self._tick()
        state = job.state()
        if state == "ended":
            return JobStatus(state=state, exit_code=job.exit_code())
        if state == "queued":
            queue = [other for other in self._jobs() if other.state() == "queued"]
            return JobStatus(state=state, queue_position=queue.index(job) + 1 if job in queue else None)
        return JobStatus(state=state)

    def _list(self) -> Sequence[JobListed]:
        specs = [(job, job.spec()) for job in self._jobs()]
        return [JobListed(spec.job_id, spec.attempt, job.state()) for job, spec in specs if spec]

    def _forget(self, job: LocalJob) -> None:
        with self._locked(LOCK_SECONDS) as locked:
            if not locked:
                raise Unavailable(f"{self._jobs_dir} has been locked for {LOCK_SECONDS} s")
            if job.state() not in ("queued", "running"):
                job.remove()

    def _tick(self) -> None:
        # Where the lock is taken, whoever has it starts what is due; if it cannot, the next tick can.
        with self._locked(0) as locked:
            if locked:
                self._start_due()

    def _start_due(self) -> None:
        states = [(job, job.state()) for job in self._jobs()]
        for job, state in states:
            if state == "running":
                job.kill_if_overdue()
        free = self._slots - sum(state == "running" for _, state in states)
        due = [job for job, state in states if state == "queued"]
        for job in due[: max(0, free)]:
            self._start(job)

    def _start(self, job: LocalJob) -> None:
        supervisor = (sys.executable, "-I", "-S", local_supervisor.__file__, str(job.path))
        try:
            with job.log_path.open("ab") as log:
                subprocess.run(  # noqa: S603 - the operator's command, never a user's
                    (*supervisor, *self._command, str(job.spec_path)),
                    env={**os.environ, **self._environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=START_SECONDS,
                    check=True,
                )
        except (OSError, subprocess.SubprocessError) as error:
            # It stays queued, and the next tick tries again.
            _log.error("job.start-failed", executor=self.name, job=job.path.name, error=str(error))

    @contextlib.contextmanager
    def _locked(self, wait_seconds: float) -> Iterator[bool]:
        """Hold the directory's lock, which dies with this process; yield whether it is held."""
        self._jobs_dir.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + wait_seconds
        with (self._jobs_dir / ".lock").open("wb") as file:
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


def _thread_limits(slots: int) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) // slots)
    return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
