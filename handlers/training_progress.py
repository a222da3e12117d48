"""training.progress -> task.status: what the current attempt says is folded into the task's state."""

from collections.abc import Sequence

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.task import Phase, Progress
from contracts.training import Failure, TrainingProgress
from handlers import attempts, failures, layout, settlement, task_state
from handlers.errors import OutsideBucket
from handlers.failures import Again
from handlers.outcome import Outcome
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from handlers.task_state import WITH_JOB, TaskState

STAGE = "training-progress"

#: The reason of a task whose trainer was asked to end by its engine.
INTERRUPTED = "interrupted"
#: The reason of a task that does no step although its job runs; the reconciler sets it.
STALLED = "stalled"

#: Phases in which a trainer is listened to. A paused one may still have had something to say.
_LISTENING = WITH_JOB | {Phase.TERMINATING, Phase.PAUSED}


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
            after = fold(after, _fenced(event.data, store))
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
        return _still_paused(replace(state, checkpoint=said.checkpoint)) if newer else state
    stepped = said.progress is not None and _step(said.progress) != _step(state.progress)
    state = replace(
        state,
        seq=said.seq,
        progress=said.progress or state.progress,
        checkpoint=said.checkpoint or state.checkpoint,
        trained=settlement.further(state.trained, said.progress),
    )
    if state.phase is Phase.TERMINATING:
        # A stop is irreversible: a success that comes after it is not promoted.
        finished = said.state in ("stopped", "succeeded", "failed")
        return attempts.terminated(state) if finished else state
    if said.state == "succeeded":
        return _succeeded(state, said)
    if state.phase is Phase.PAUSED:
        return _still_paused(state)
    if said.state == "failed":
        return _failed(state, said.failure or Failure("unknown", "unknown", "the trainer gave no reason"))
    if said.state == "stopped":
        return _stopped(state)
    return _lives(state, said.state, stepped=stepped)


def _still_paused(state: TaskState) -> TaskState:
    """Return the state with what a paused task says of where it goes on from: that may have become a newer one."""
    return attempts.paused(state) if state.phase is Phase.PAUSED and state.desired == "pause" else state


def _succeeded(state: TaskState, said: TrainingProgress) -> TaskState:
    # Also of a task that should pause: there is nothing left to pause.
    return replace(
        state,
        phase=Phase.COMPLETING,
        desired="run",
        promoted=state.attempt,
        outputs=said.outputs,
        reason="trained",
        party=None,
        message="training succeeded; exporting the kept models",
    )


def _failed(state: TaskState, failure: Failure) -> TaskState:
    end = failures.reported(state, failure)
    if state.desired != "run" and failures.class_of(end).again is not Again.NEVER:
        return replace(state, last_word=end)  # it is paused once its job is gone
    if not failures.worth_another(state, end):
        return failures.failed(state, end)
    # The reconciler begins another attempt, once it sees that the job is gone.
    return replace(state, last_word=end, reason=end.reason, party=end.party, message=end.message)


def _stopped(state: TaskState) -> TaskState:
    if state.desired != "run":
        return attempts.paused(state)
    # Not by its user, so by the engine (a node drained, say): the reconciler begins a new attempt.
    message = "the trainer saved a checkpoint and ended because its engine asked it to"
    end = failures.reported(state, Failure(INTERRUPTED, "platform", message))
    return replace(state, last_word=end, reason=INTERRUPTED, party="platform", message=message)


def _lives(state: TaskState, said: str, *, stepped: bool) -> TaskState:
    phase = Phase.DEPLOYING if said == "deploying" and state.phase is not Phase.RUNNING else Phase.RUNNING
    if state.desired != "run" or (state.reason == STALLED and not stepped):
        # What was asked for, or is missing, stays the reason until it is there.
        return replace(state, phase=phase)
    return replace(state, phase=phase, reason=said, party=None, message="")


def _fenced(said: TrainingProgress, store: ObjectStore) -> TrainingProgress:
    """Return what an attempt said, without a checkpoint that is not its own: no other attempt may begin from there."""
    if said.checkpoint is None:
        return said
    try:
        own = store.key(said.checkpoint.uri).startswith(layout.attempt(said.task_id, said.attempt))
    except OutsideBucket:
        own = False
    return said if own else replace(said, checkpoint=None)


def _step(progress: Progress | None) -> int:
    return progress.step if progress else 0
