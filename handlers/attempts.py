"""Attempts at training a task: beginning one in the state, handing it to an executor, ending it.

The order is always the same: the state first, the executor second, then the state again. Of two processes that cross,
each sees the other; a trainer of an attempt that is not the state's current one counts for nothing.
"""

from msgspec.structs import replace

from contracts.envelope import derived_id
from contracts.task import Phase
from contracts.training import Failure, TrainingDispatched
from handlers import compare_and_set, failures, layout, settlement, task_state
from handlers.outcome import FollowOn
from handlers.planning.plan import Plan
from handlers.ports.executors import Choice, Executors
from handlers.ports.jobs import JobSpec
from handlers.ports.store import ObjectStore
from handlers.task_state import AttemptEnd, TaskState
from handlers.tenancy import queue
from handlers.tenancy.projects import Projects

#: How many ends of attempts a state remembers: a task may be paused and resumed for ever.
_ENDS = 10


async def choice(state: TaskState, *, store: ObjectStore, executors: Executors) -> Choice:
    """Return where a dispatched task's next attempt is to run, by today's configuration."""
    plan = await compare_and_set.read(store, layout.task(state.task_id, "plan"), Plan)
    if plan is None:
        # Somebody deleted it: the trainer will say so.
        return Choice(state.executor, state.resources)
    return executors.choose(state.project, plan.base_model, plan.training_type)


def begun(state: TaskState, placed: Choice, *, reason: str, message: str = "") -> TaskState:
    """Return the state with a new attempt begun, from the last checkpoint where there is one. Pure."""
    return replace(
        state,
        phase=Phase.QUEUED,
        desired="run",
        attempt=state.attempt + 1,
        executor=placed.name,
        resources=placed.resources,
        seq=-1,
        last_word=None,
        trained=settlement.going_on_from(state.checkpoint),
        reason=reason,
        message=message,
        party=None,
    )


def retried(state: TaskState, placed: Choice, end: AttemptEnd) -> TaskState:
    """Return the state with a new attempt begun because the current one ended like that. Pure."""
    known = failures.class_of(end)
    if known.anew:
        state = replace(state, checkpoint=None)
    message = f"attempt {end.attempt}: {end.message}; trying again from {_where(state)}"
    begins = begun(state, placed, reason=end.reason, message=message)
    return replace(begins, party=known.party, retry_count=state.retry_count + 1, ends=_with(state, end))


def resumed(state: TaskState, placed: Choice) -> TaskState:
    """Return the state with a new attempt begun because the user resumed the task. No retry is used up. Pure."""
    end = AttemptEnd(
        attempt=state.attempt, executor=state.executor, reason="paused-by-user", party="user", message="paused",
        step=state.progress.step if state.progress else None,
    )  # fmt: skip
    begins = begun(state, placed, reason="resumed", message=f"resumed from {_where(state)}")
    return replace(begins, party="user", ends=_with(state, end))


def ended(state: TaskState, failure: Failure) -> TaskState:
    """Return the state of a task that will not be tried again. Pure."""
    return replace(state, phase=Phase.FAILED, reason=failure.reason, party=failure.party, message=failure.message)


def paused(state: TaskState) -> TaskState:
    """Return the state of a task whose attempt is over because its user wanted a pause. Pure."""
    message = f"paused; a resume goes on from {_where(state)}"
    return replace(state, phase=Phase.PAUSED, reason="paused-by-user", party="user", message=message)


def terminated(state: TaskState) -> TaskState:
    """Return the state of a task that ended because its user said so. Pure."""
    return replace(
        state, phase=Phase.TERMINATED, reason="stopped-by-user", party="user", message="stopped; it cannot be resumed"
    )


def dispatched(state: TaskState, store: ObjectStore, quote_id: str | None = None) -> FollowOn:
    """Return what is said of the current attempt. Named after it: whoever says it says the same event. Pure."""
    body = TrainingDispatched(
        task_id=state.task_id,
        project=state.project,
        attempt=state.attempt,
        executor=state.executor,
        job_id=state.task_id,
        plan_uri=store.uri(layout.task(state.task_id, "plan")),
        quote_id=quote_id,
    )
    event_id = derived_id("attempt", "-", state.task_id, "training.dispatched", state.attempt)
    return FollowOn("training.dispatched", state.task_id, body, event_id, state.changed_at)


def job_spec(state: TaskState, store: ObjectStore) -> JobSpec:
    """Return what the trainer of the current attempt is told: a pure function of the state at its beginning."""
    return JobSpec(
        job_id=state.task_id,
        task_id=state.task_id,
        attempt=state.attempt,
        plan_key=layout.task(state.task_id, "plan"),
        attempt_prefix=layout.attempt(state.task_id, state.attempt),
        resume_from=store.key(state.checkpoint.uri) if state.checkpoint else None,
        project=state.project,
        resources=state.resources,
        traceparent=state.traceparent,
    )


async def submit(
    state: TaskState, *, store: ObjectStore, executors: Executors, projects: Projects, grace_seconds: float
) -> None:
    """Hand the current attempt to its executor. Idempotent; may be called by several processes.

    Where there are quotas it waits in their queue first, and is handed over once it was let out. Where the task was
    stopped, paused or went on to another attempt meanwhile, the job is asked to end again.
    """
    if not await queue.let_through(state, store=store, projects=projects):
        return
    executor = executors.of(state.executor)
    await executor.submit(await _written_spec(state, store))
    now = await task_state.read(store, state.task_id)
    if now is None or now.attempt != state.attempt or now.desired != "run" or now.phase.terminal:
        await executor.cancel(state.task_id, state.attempt, grace_seconds)


async def _written_spec(state: TaskState, store: ObjectStore) -> JobSpec:
    """Return the attempt's spec as first written: a checkpoint announced since must not make it another job."""
    key = layout.attempt_spec(state.task_id, state.attempt)
    return await compare_and_set.first(store, key, job_spec(state, store))


def _with(state: TaskState, end: AttemptEnd) -> tuple[AttemptEnd, ...]:
    return (*state.ends, end)[-_ENDS:]


def _where(state: TaskState) -> str:
    return f"the checkpoint at step {state.checkpoint.step}" if state.checkpoint else "the beginning"
