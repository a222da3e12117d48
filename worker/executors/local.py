"""The local executor: training jobs as processes of this machine. All its state is a directory."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from handlers.errors import Unavailable
from handlers.ports.jobs import JobListed, JobSpec, JobStatus, Resources
from worker.executors.local_gpus import visible_gpus
from worker.executors.local_jobs import LocalJobs
from worker.executors.namespace import namespace_of
from worker.settings import Settings

TRAINER_COMMAND = (sys.executable, "-m", "worker.trainer")

Result = TypeVar("Result")
_log = structlog.get_logger()


class LocalExecutor:
    """An Executor whose jobs outlive every worker. Workers of one machine may share ``work_dir``, and so their jobs;
    of workers with different ``namespace`` each starts and knows its own, and all take the same slots.

    A job takes a slot for each GPU it asks for, at least one, and keeps them to its end, whatever becomes of workers;
    of ``gpus`` it sees those of its slots alone. The others queue strictly first come, first served; ``queue_position``
    counts from 1. A job is started at most once in its life; one whose processes vanished (a reboot) is ``unknown``.
    At its time limit it is asked to end. Children that leave the trainer's process group are not killed with it.

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
        namespace: str = "",
        gpus: Sequence[str] = (),
        interval_seconds: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots is {slots}: nothing would ever run")
        self._jobs = LocalJobs(work_dir.absolute() / "jobs", namespace, slots, gpus, command, environment or {})
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        self._ticked_at = -interval_seconds
        # One thread: file access and starting leave the event loop alone, and never fill the loop's own pool.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-executor")

    async def submit(self, spec: JobSpec) -> None:
        """Start a job, or queue it where all slots are taken. See Executor; returns when it is on disk."""
        await self._off_loop(lambda: self._jobs.submit(spec))

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what the directory tells of a job. See Executor."""
        # Not a tick at each call: a sweep asks for a thousand jobs at once.
        if time.monotonic() - self._ticked_at >= self._interval_seconds:
            await self.tick()
        return await self._off_loop(lambda: self._jobs.status(self._jobs.job(job_id, attempt)))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end. See Executor; the shortest grace asked for holds, even if every worker dies."""
        await self._off_loop(lambda: self._jobs.cancel(self._jobs.job(job_id, attempt), grace_seconds))

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job printed from byte ``cursor`` on, 1 MiB at most, and the byte to go on from."""
        return await self._off_loop(lambda: self._jobs.job(job_id, attempt).log(cursor))

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job of the namespace, in the order they were submitted. See Executor."""
        return await self._off_loop(self._jobs.listed)

    async def forget(self, job_id: str, attempt: int) -> None:
        """Remove an ended or lost job's directory; a queued or running job stays. Idempotent."""
        await self._off_loop(lambda: self._jobs.forget(self._jobs.job(job_id, attempt)))

    async def tick(self) -> None:
        """Start what is due; kill what outlived its supervisor and its grace. May be called at any time."""
        self._ticked_at = time.monotonic()
        await self._off_loop(self._jobs.tick)

    async def run(self) -> None:
        """Tick until cancelled. A directory that cannot be used is logged and tried again."""
        while True:
            try:
                await self.tick()
            except Unavailable as error:
                _log.warning("executor.unavailable", executor=self.name, error=str(error))
            except Exception:  # noqa: BLE001 - whatever it is, it must not end the stages that run beside this
                _log.exception("executor.tick_failed", executor=self.name)
            await self._sleep(self._interval_seconds)

    async def close(self) -> None:
        """Let go of this object's thread. Jobs run on, queued ones wait for a worker. May be called twice."""
        await asyncio.to_thread(self._thread.shutdown)

    async def kill_all(self, wait_seconds: float = 10.0) -> bool:
        """Kill every job of the namespace, whoever started it; return whether none is left after the wait."""
        deadline = time.monotonic() + wait_seconds
        await self._off_loop(self._jobs.cancel_all)
        while await self._off_loop(self._jobs.running):
            if time.monotonic() >= deadline:
                return False
            await self.tick()
            await self._sleep(0.05)
        return True

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise Unavailable(f"{self._jobs.path}: {error}") from error


def local_executor(settings: Settings) -> LocalExecutor:
    """Return the local executor of these settings: a slot a GPU, where nothing else is set. See registry."""
    gpus = visible_gpus()
    slots = slots_of(settings, gpus)
    return LocalExecutor(
        settings.work_dir,
        slots,
        environment=settings.to_environment(),
        namespace=namespace_of(settings),
        gpus=gpus,
    )


def refusal(settings: Settings, resources: Resources) -> str | None:
    """Return why a job that asks for these could never run on this machine, or None. See registry."""
    if resources.nodes > 1:
        return f"local is one machine, and cannot give {resources.nodes} nodes; leave nodes out, or name an engine"
    if resources.gpus == 0:
        return None
    gpus = visible_gpus()
    if resources.gpus > len(gpus):
        return f"this machine cannot give {resources.gpus} GPUs, it has {len(gpus)}; lower gpus, or name an engine"
    if resources.gpus > slots_of(settings, gpus):
        return f"a GPU takes a slot, and WORKER_LOCAL_SLOTS is {settings.local_slots}; raise it to {resources.gpus}"
    return None


def slots_of(settings: Settings, gpus: Sequence[str]) -> int:
    """Return how many slots the local executor has. Pure."""
    return settings.local_slots or max(1, len(gpus))
