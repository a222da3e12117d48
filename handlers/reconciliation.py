"""What no event announces: lost jobs, submits a crash cut short, statuses never said. One pure decision."""

import enum
from typing import NamedTuple

from contracts.task import Phase
from handlers import failures
from handlers.ports.jobs import JobStatus
from handlers.task_state import WITH_JOB, AttemptEnd, TaskState
from handlers.training_progress import STALLED
from handlers.unheard import Unheard


class Action(enum.Enum):
    """What to do about a task now."""

    LEAVE = enum.auto()
    """All is as it should be, or it is too early to say."""
    SUBMIT = enum.auto()
    """The attempt was begun but the executor has no job: hand it over (again)."""
    RETRY = enum.auto()
    """The attempt ended without a result: a new one from the last checkpoint."""
    FAIL = enum.auto()
    """The attempt ended without a result, and another one is not worth it or not allowed."""
    CANCEL = enum.auto()
    """The job should be ending: ask again."""
    PAUSE = enum.auto()
    """The task was to pause and its job is gone."""
    RESUME = enum.auto()
    """The task is paused and its user wants it to go on: a new attempt from the last checkpoint."""
    STALLED = enum.auto()
    """The job runs and does no step: say so."""
    TERMINATE = enum.auto()
    """The task was stopped and its job is gone."""
    RELEASE = enum.auto()
    """The task has ended: say its status once more, then look after it no longer."""
    REPEAT = enum.auto()
    """The attempt's last word is in the bucket and was not heard: say it again."""


#: What is done because of an attempt's silence, or would make what it has still to say count for nothing.
FOR_SILENCE = frozenset({Action.RETRY, Action.FAIL, Action.TERMINATE, Action.PAUSE, Action.RESUME, Action.STALLED})


class Decision(NamedTuple):
    """An action; where it begins another attempt or fails the task, with how the current one ended."""

    action: Action
    end: AttemptEnd | None = None


class Silence(NamedTuple):
    """Seconds the state, and the step in it, have been the same, and the job has been gone, by the caller's own clock.

    ``gone`` begins with the first look that found no job, after any that found one or could not ask.
    """

    state: float
    step: float
    gone: float = float("inf")


class Patience(NamedTuple):
    """Seconds of silence after which a job that is gone is lost, and one without a step stalled, and given up."""

    lost: float
    stalled: float
    given_up: float | None = None


_LEAVE = Decision(Action.LEAVE)


def decide(state: TaskState, job: JobStatus, silence: Silence, patience: Patience) -> Decision:
    """Return what to do about a task. Pure.

    A job that ended has usually said why, in an event that is still on its way: only after ``patience.lost`` without a
    job and without a change does its silence mean that it was lost; and then only if :func:`unless_unheard` finds that
    it was silence.
    """
    if state.phase.terminal:
        return Decision(Action.RELEASE)
    if state.phase is Phase.PAUSED and state.desired == "resume":
        return Decision(Action.RESUME)
    if not needs_job(state):
        return _LEAVE
    if job.state in ("queued", "running"):
        return _of_a_job(state, job, silence, patience)
    return _of_no_job(state, job, silence, patience)


def needs_job(state: TaskState) -> bool:
    """Return whether a decision about the task depends on its job: engines are not asked for the others. Pure."""
    return state.phase in WITH_JOB or state.phase is Phase.TERMINATING or state.desired == "resume"


def _of_a_job(state: TaskState, job: JobStatus, silence: Silence, patience: Patience) -> Decision:
    if state.phase is Phase.TERMINATING or state.desired != "run":
        return Decision(Action.CANCEL)
    if state.last_word is not None:
        # It said that it ends. One that hangs on its way out would keep its GPU for good.
        return _LEAVE if silence.state < patience.lost else Decision(Action.CANCEL)
    if job.state == "queued" or silence.step < patience.stalled:
        return _LEAVE
    if patience.given_up is not None and silence.step >= patience.given_up:
        return _next(state, failures.stalled(state, silence.step))
    return _LEAVE if state.reason == STALLED else Decision(Action.STALLED)


def _of_no_job(state: TaskState, job: JobStatus, silence: Silence, patience: Patience) -> Decision:
    patient = min(silence.state, silence.gone) < patience.lost and state.last_word is None
    if state.phase is Phase.TERMINATING or state.desired != "run":
        # A job that never spoke was cancelled in the queue: nothing of it is still on its way.
        if patient and state.seq >= 0:
            return _LEAVE
        return Decision(Action.TERMINATE if state.phase is Phase.TERMINATING else Action.PAUSE)
    if patient:
        return Decision(Action.SUBMIT) if job.state == "unknown" and state.seq < 0 else _LEAVE
    return _next(state, failures.observed(state, job))


def _next(state: TaskState, end: AttemptEnd) -> Decision:
    return Decision(Action.RETRY if failures.worth_another(state, end) else Action.FAIL, end)


def unless_unheard(decision: Decision, unheard: Unheard) -> Decision:
    """Return what to do instead where an attempt was not silent, only not heard. Pure.

    Its events may be on their way for as long as Kafka is down; patience begins anew once they have left the bucket.
    """
    if decision.action not in FOR_SILENCE:
        return decision
    if unheard.on_their_way:
        return _LEAVE
    return Decision(Action.REPEAT) if unheard.last_word else decision


def place_is_news(said: int | None, now: int) -> bool:
    """Return whether a task's place in the queue is worth an event. Pure.

    Near the front each place is; far behind, a tenth of the way to the front. So a task that waits behind a thousand
    others says some fifty places in all.
    """
    return said is None or abs(said - now) >= max(1, said // 10)
