"""training.progress -> task.status: what the current attempt says is folded into the task's state."""

from collections.abc import Sequence

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.task import Phase
from contracts.training import Failure, TrainingProgress
from handlers import attempts, task_state
from handlers.outcome import Outcome
from handlers.ports import Clock, ObjectStore
from handlers.task_state import TaskState

STAGE = "training-progress"

#: The reason of a task whose trainer was asked to end by its engine.
INTERRUPTED = "interrupted"

#: Phases in which a trainer is listened to.
_LISTENING = attempts.WITH_JOB | {Phase.TERMINATING}


async def keep_progress(events: Sequence[Event[TrainingProgress]], *, store: ObjectStore, clock: Clock) -> Outcome:
    """Fold a run of one task's progress events into its state, in one write, and say the status.

    (attempt, seq) decides what is new, so a duplicate, a replay and a superseded attempt change nothing: the current
    status is then said again, under the id it has. The offsets of these events may be committed once this returns.
    """
    task_id = events[0].data.task_id

    def folded(before: TaskState | None) -> TaskState | None:
        if before is None:
            return None
        after = before
        for event in events:
            after = fold(after, event.data)
        return after if after != before else None

    state = await task_state.change(store, clock, task_id, folded)
    if state is None:
        return Outcome(name="unknown-task")
    return Outcome(name="folded", events=task_state.said(state, events[-1], STAGE))


def only_steps(said: TrainingProgress) -> bool:
    """Return whether an event says no more than how far training is. Pure.

    A checkpoint is more: where its job is lost before it is written down, the next attempt begins without it.
    """
    return said.state == "running" and said.checkpoint is None


def fold(state: TaskState, said: TrainingProgress) -> TaskState:
    """Return the state after one progress event. Pure; what is old, superseded or too late changes nothing.

    A checkpoint is never too old to go on from: where its event was overtaken, the newest one counts all the same.
    """
    if said.attempt != state.attempt or state.phase not in _LISTENING:
        return state
    if said.seq <= state.seq:
        newer = said.checkpoint and (state.checkpoint is None or said.checkpoint.step > state.checkpoint.step)
        return replace(state, checkpoint=said.checkpoint) if newer else state
    state = replace(
        state,
        seq=said.seq,
        progress=said.progress or state.progress,
        checkpoint=said.checkpoint or state.checkpoint,
    )
    if state.phase is Phase.TERMINATING:
        # A stop is irreversible: a success that comes after it is not promoted.
        finished = said.state in ("stopped", "succeeded", "failed")
        return terminated(state) if finished else state
    if said.state == "succeeded":
        return replace(
            state,
            phase=Phase.COMPLETING,
            promoted=state.attempt,
            outputs=said.outputs,
            reason="trained",
            party=None,
            message="training succeeded; exporting the kept models",
        )
    if said.state == "failed":
        failure = said.failure or Failure("unknown", "unknown", "the trainer gave no reason")
        # What another attempt could cure is left to the reconciler, which also sees that the job is gone.
        return replace(state, message=failure.message) if failure.retryable else attempts.ended(state, failure)
    if said.state == "stopped":
        # Not by its user, so by the engine (a node drained, say): the reconciler begins a new attempt.
        message = "the trainer saved a checkpoint and ended because its engine asked it to"
        return replace(state, reason=INTERRUPTED, party="platform", message=message)
    phase = Phase.DEPLOYING if said.state == "deploying" else Phase.RUNNING
    if state.phase is Phase.RUNNING:
        phase = Phase.RUNNING
    return replace(state, phase=phase, reason=said.state, party=None, message="")


def terminated(state: TaskState) -> TaskState:
    """Return the state of a task that ended because its user said so. Pure."""
    return replace(
        state, phase=Phase.TERMINATED, reason="stopped-by-user", party="user", message="stopped; it cannot be resumed"
    )
