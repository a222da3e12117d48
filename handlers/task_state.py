"""The one mutable object of a task, ``tasks/<id>/state.json``: who may change it, how, and what is said of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import DEFAULT_PROJECT, Event, derived_id
from contracts.task import Fault, Party, Phase, Progress, Settlement, TaskStatus
from contracts.training import Checkpoint, Output
from handlers import compare_and_set, layout, settlement
from handlers.outcome import FollowOn, complete
from handlers.ports.clock import Clock
from handlers.ports.jobs import Resources
from handlers.ports.store import ObjectStore
from handlers.settlement import Quoted, Trained

#: Every legal change of phase. Staying where one is is always legal.
TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.PREPROCESSING: frozenset({Phase.QUEUED, Phase.TERMINATED, Phase.FAILED}),
    Phase.QUEUED: frozenset(
        {
            Phase.DEPLOYING,
            Phase.RUNNING,
            Phase.COMPLETING,
            Phase.PAUSED,
            Phase.TERMINATING,
            Phase.TERMINATED,
            Phase.FAILED,
        }
    ),
    Phase.DEPLOYING: frozenset(
        {Phase.QUEUED, Phase.RUNNING, Phase.COMPLETING, Phase.PAUSED, Phase.TERMINATING, Phase.TERMINATED, Phase.FAILED}
    ),
    Phase.RUNNING: frozenset(
        {Phase.QUEUED, Phase.COMPLETING, Phase.PAUSED, Phase.TERMINATING, Phase.TERMINATED, Phase.FAILED}
    ),
    # Completing: a success that was on its way when the task counted as paused.
    Phase.PAUSED: frozenset({Phase.QUEUED, Phase.COMPLETING, Phase.TERMINATED}),
    Phase.COMPLETING: frozenset({Phase.COMPLETED, Phase.FAILED}),
    Phase.TERMINATING: frozenset({Phase.TERMINATED}),
    Phase.COMPLETED: frozenset(),
    Phase.TERMINATED: frozenset(),
    Phase.FAILED: frozenset(),
}


#: Phases in which an executor should have a job.
WITH_JOB = frozenset({Phase.QUEUED, Phase.DEPLOYING, Phase.RUNNING})

#: What a user may want of a task. ``resume``: that the attempt which is being paused ends, and another begins.
Desired = Literal["run", "stop", "pause", "resume", "delete"]


class AttemptEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an attempt ended that did not succeed. ``step`` is the last one anybody heard of, in any attempt.

    ``retryable`` is the trainer's own opinion: False always holds, True for reasons not known to handlers/failures.py.
    """

    attempt: int
    executor: str
    reason: str
    party: Party
    message: str
    step: int | None = None
    retryable: bool = True


class TaskState(Struct, frozen=True, kw_only=True):
    """Everything that is true of a task now.

    ``desired`` is what the user wants; it is written before anything is done about it, so that of two processes that
    cross, each sees the other. ``ordered_by`` is the command that changed it last. ``attempt`` 0 means never submitted;
    only what the current attempt says counts, and it stays with its ``executor`` whatever is configured later.
    ``seq`` is the newest progress of that attempt that is folded in; ``last_word`` is set once it said that it ended.
    ``ends`` is how the attempts before it ended, the newest last. ``quoted`` is set once the task is dispatched;
    ``settlement`` when it ends, whatever is said of it later. ``revision`` rises with every change. ``traceparent`` is
    its dispatch's place in a trace, and of what is begun or said for it later without an event.
    """

    task_id: str
    project: str = DEFAULT_PROJECT
    phase: Phase = Phase.PREPROCESSING
    desired: Desired = "run"
    ordered_by: str | None = None
    attempt: int = 0
    executor: str = "local"
    resources: Resources = Resources()
    promoted: int | None = None
    revision: int = 0
    nonce: str = ""
    reason: str = "created"
    party: Party | None = None
    message: str = ""
    retry_count: int = 0
    retry_limit: int = 3
    seq: int = -1
    last_word: AttemptEnd | None = None
    ends: tuple[AttemptEnd, ...] = ()
    queue_position: int | None = None
    progress: Progress | None = None
    checkpoint: Checkpoint | None = None
    outputs: tuple[Output, ...] = ()
    quoted: Quoted | None = None
    trained: Trained = Trained()
    settlement: Settlement | None = None
    faults: tuple[Fault, ...] = ()
    deleted: bool = False
    changed_at: datetime | None = None
    traceparent: str | None = None


Change = Callable[[TaskState | None], TaskState | None]


class IllegalTransition(Exception):
    """A change of phase that is not in the table: a bug, never an input."""


async def read(store: ObjectStore, task_id: str) -> TaskState | None:
    """Return a task's state, or None before anything happened to it."""
    return await compare_and_set.read(store, layout.task(task_id, "state"), TaskState)


async def change(store: ObjectStore, clock: Clock, task_id: str, decide: Change) -> TaskState | None:
    """Change a task's state by If-Match and return it as it is afterwards.

    ``decide`` is pure: it gets the state (None: there is none yet) and returns the new one, or None to leave it. It is
    called again whenever somebody else changed the state first.

    Raises:
        Transient: others changed it each time we tried.
        IllegalTransition: ``decide`` asked for a phase that cannot follow.
    """

    def stamped(before: TaskState | None) -> TaskState | None:
        after = decide(before)
        if after is None:
            return None
        _check(before, after)
        if after.phase.terminal and not (before and before.phase.terminal):
            due = settlement.settle(after.phase, after.party, after.quoted, after.trained)
            after = replace(after, settlement=due)
        return replace(
            after,
            revision=(before.revision if before else 0) + 1,
            nonce=uuid4().hex,
            changed_at=clock.now(),
            queue_position=after.queue_position if after.phase is Phase.QUEUED else None,
        )

    return await compare_and_set.update(store, layout.task(task_id, "state"), TaskState, stamped)


def _check(before: TaskState | None, after: TaskState) -> None:
    if before is None or before.phase == after.phase:
        return
    if after.phase not in TRANSITIONS[before.phase]:
        raise IllegalTransition(f"{before.task_id}: {before.phase.value} -> {after.phase.value}")


def resumable(state: TaskState) -> bool:
    """Return whether a resume would be obeyed: the task is paused, or about to be. Pure."""
    return state.desired == "pause" and (state.phase is Phase.PAUSED or state.phase in WITH_JOB)


def said(state: TaskState, cause: Event[Any], stage: str) -> tuple[Event[Any], ...]:
    """Return the state's status as a complete event, caused by ``cause``."""
    return complete([status(state)], cause=cause, stage=stage, version="-", business_key=state.task_id, now=cause.time)


def status(state: TaskState) -> FollowOn:
    """Return the state as ``task.status``. Named after the revision: saying a state twice is saying one event."""
    assert state.changed_at is not None
    body = TaskStatus(
        task_id=state.task_id,
        project=state.project,
        revision=state.revision,
        phase=state.phase,
        terminal=state.phase.terminal,
        reason=state.reason,
        party=state.party,
        message=state.message,
        attempt=state.attempt,
        retry_count=state.retry_count,
        retry_limit=state.retry_limit,
        resumable=resumable(state),
        changed_at=state.changed_at,
        queue_position=state.queue_position,
        progress=state.progress,
        faults=state.faults,
        settlement=state.settlement,
    )
    event_id = derived_id("task-state", "-", state.task_id, "task.status", state.revision)
    return FollowOn("task.status", state.task_id, body, event_id, state.changed_at)
