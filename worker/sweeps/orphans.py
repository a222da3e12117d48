"""Ends jobs that run for no task any more, and lets executors forget those that ended long ago."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from handlers import layout, task_state
from handlers.errors import Transient
from handlers.orphans import Fate, fate_of
from handlers.ports.clock import Clock
from handlers.ports.executors import Executor, Executors
from handlers.ports.jobs import JobListed
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState

log = structlog.get_logger()

#: Executor, job id, attempt.
_Job = tuple[str, str, int]


class OrphanSweep:
    """Looks at every job of every executor now and then. Safe to be done by two at once.

    A job is ended only once it was nobody's for ``patience_seconds`` of our own monotonic clock: one that just said its
    last word is on its way out. A job that was not submitted over this bucket is another deployment's and left alone.
    """

    def __init__(
        self,
        store: ObjectStore,
        executors: Executors,
        clock: Clock,
        *,
        every_seconds: float,
        patience_seconds: float,
        retention_seconds: float,
        cancel_grace_seconds: float,
    ) -> None:
        self._store = store
        self._executors = executors
        self._clock = clock
        self._every_seconds = every_seconds
        self._patience_seconds = patience_seconds
        self._retention = timedelta(seconds=retention_seconds)
        self._grace_seconds = cancel_grace_seconds
        self._swept_at: float | None = None
        #: Since when a job has been nobody's.
        self._nobodys: dict[_Job, float] = {}
        #: Until when an ended job is kept, where its task has ended: its state need not be read at each sweep.
        self._kept_until: dict[_Job, datetime] = {}

    async def sweep_when_due(self) -> None:
        """Sweep if the last time is long enough ago. An executor that does not answer is left for the next time."""
        now = self._clock.monotonic()
        if self._swept_at is not None and now - self._swept_at < self._every_seconds:
            return
        self._swept_at = now
        nobodys: dict[_Job, float] = {}
        kept_until: dict[_Job, datetime] = {}
        for executor in self._executors.every():
            try:
                await self._sweep(executor, await executor.jobs(), nobodys, kept_until)
            except Transient as error:
                log.warning("orphans.not_swept", executor=executor.name, error=str(error))
        self._nobodys, self._kept_until = nobodys, kept_until

    async def _sweep(
        self,
        executor: Executor,
        jobs: Sequence[JobListed],
        nobodys: dict[_Job, float],
        kept_until: dict[_Job, datetime],
    ) -> None:
        """Sweep an executor's jobs; note since when one is nobody's, and until when one is kept."""
        now = self._clock.now()
        states: dict[str, TaskState | None] = {}
        for job in jobs:
            name = (executor.name, job.job_id, job.attempt)
            # One that its engine had lost may be there again.
            over = job.state not in ("queued", "running")
            if over and name in self._kept_until and now < self._kept_until[name]:
                kept_until[name] = self._kept_until[name]
                continue
            if job.job_id not in states:
                states[job.job_id] = await task_state.read(self._store, job.job_id)
            state = states[job.job_id]
            fate = fate_of(job, executor.name, state, now, self._retention)
            if fate is Fate.FORGET:
                await executor.forget(job.job_id, job.attempt)
            elif fate is Fate.END and (state is not None or await self._ours(job)):
                nobodys[name] = self._nobodys.get(name, self._clock.monotonic())
                await self._end(executor, job, nobodys[name])
            elif fate is Fate.KEEP and state and state.phase.terminal and state.changed_at:
                kept_until[name] = state.changed_at + self._retention

    async def _end(self, executor: Executor, job: JobListed, since: float) -> None:
        if self._clock.monotonic() - since < self._patience_seconds:
            return
        log.warning("orphan.ended", executor=executor.name, task_id=job.job_id, attempt=job.attempt, job=job.state)
        await executor.cancel(job.job_id, job.attempt, self._grace_seconds)

    async def _ours(self, job: JobListed) -> bool:
        """Return whether the job was submitted over this bucket: engines may be shared, and its task is unknown."""
        return await self._store.head(layout.attempt(job.job_id, job.attempt) + "spec.json") is not None
