"""What no event announces: lost jobs, submits a crash cut short, statuses never said. One pure decision."""

import enum

from contracts.task import Phase
from handlers import attempts
from handlers.ports import JobStatus
from handlers.task_state import TaskState
from handlers.unheard import Unheard


class Action(enum.Enum):
    """What to do about a task now."""

    LEAVE = enum.auto()
    """All is as it should be, or it is too early to say."""
    SUBMIT = enum.auto()
    """The attempt was begun but the executor has no job: hand it over (again)."""
    RETRY = enum.auto()
    """The job is gone without a result: a new attempt from the last checkpoint."""
    FAIL = enum.auto()
    """The job is gone without a result, and the retries are used up."""
    CANCEL = enum.auto()
    """The job should be ending: ask again."""
    TERMINATE = enum.auto()
    """The task was stopped and its job is gone."""
    RELEASE = enum.auto()
    """The task has ended: say its status once more, then look after it no longer."""
    REPEAT = enum.auto()
    """The attempt's last word is in the bucket and was not heard: say it again."""


#: What ends an attempt because of its silence.
FOR_SILENCE = frozenset({Action.RETRY, Action.FAIL, Action.TERMINATE})


def decide(state: TaskState, job: JobStatus, unchanged_seconds: float, patience_seconds: float) -> Action:
    """Return what to do about a task. Pure.

    ``unchanged_seconds`` is how long the state has been the same by the caller's own monotonic clock. A job that
    ended has usually said why, in an event that is still on its way: only after ``patience_seconds`` without a change
    does its silence mean that it was lost; and then only if :func:`unless_unheard` finds that it was silence.
    """
    if state.phase.terminal:
        return Action.RELEASE
    if job.state in ("queued", "running"):
        return Action.CANCEL if state.phase is Phase.TERMINATING else Action.LEAVE
    patient = unchanged_seconds < patience_seconds
    if state.phase is Phase.TERMINATING:
        # A job that never spoke was cancelled in the queue: nothing of it is still on its way.
        return Action.LEAVE if patient and state.seq >= 0 else Action.TERMINATE
    if state.phase not in attempts.WITH_JOB:
        return Action.LEAVE
    if job.state == "unknown" and state.seq < 0 and patient:
        return Action.SUBMIT
    if patient:
        return Action.LEAVE
    return Action.RETRY if state.retry_count < state.retry_limit else Action.FAIL


def unless_unheard(action: Action, unheard: Unheard) -> Action:
    """Return what to do instead where an attempt was not silent, only not heard. Pure.

    Its events may be on their way for as long as Kafka is down; patience begins anew once they have left the bucket.
    """
    if action not in FOR_SILENCE:
        return action
    if unheard.on_their_way:
        return Action.LEAVE
    return Action.REPEAT if unheard.last_word else action
