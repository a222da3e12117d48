"""What to do about a job that an executor knows of, by the task it is said to belong to. One pure decision."""

import enum
from datetime import datetime, timedelta

from contracts.task import Phase
from handlers.ports.jobs import JobListed
from handlers.task_state import WITH_JOB, TaskState


class Fate(enum.Enum):
    """What becomes of a job."""

    KEEP = enum.auto()
    """It is its task's current attempt, or another one looks after it."""
    END = enum.auto()
    """It runs, or waits to, for nobody."""
    FORGET = enum.auto()
    """It ended, and so did its task, long enough ago that nobody asks for its log any more."""


def fate_of(job: JobListed, executor: str, state: TaskState | None, now: datetime, retention: timedelta) -> Fate:
    """Return what becomes of a job of an executor; ``state`` is its task's, read after the job was listed. Pure.

    None is a task that nobody knows, though the job was submitted over this bucket. Times of two machines are compared
    here, and here alone: a retention is hours or days, and a clock that is off keeps a log for longer or shorter.
    """
    if job.state in ("queued", "running"):
        return Fate.KEEP if state is not None and _wanted(job, executor, state) else Fate.END
    if state is None or not state.phase.terminal or state.changed_at is None:
        return Fate.KEEP
    return Fate.FORGET if now - state.changed_at >= retention else Fate.KEEP


def _wanted(job: JobListed, executor: str, state: TaskState) -> bool:
    """Return whether a job may live: its attempt is the current one, and is not over."""
    over = state.phase not in WITH_JOB and state.phase is not Phase.TERMINATING
    return (job.attempt, executor) == (state.attempt, state.executor) and not over
