"""Attempts at training a task: beginning one in the state, handing it to an executor, ending it.

The order is always the same: the state first, the executor second, then the state again. Of two processes that cross,
each sees the other; a trainer of an attempt that is not the state's current one counts for nothing.
"""

from msgspec.structs import replace

from contracts.task import Phase
from contracts.training import Failure
from handlers import compare_and_set, layout, task_state
from handlers.ports import Executor, JobSpec, ObjectStore
from handlers.task_state import TaskState

#: Phases in which an executor should have a job.
WITH_JOB = frozenset({Phase.QUEUED, Phase.DEPLOYING, Phase.RUNNING})


def begun(state: TaskState, *, reason: str, message: str = "", infrastructure_fault: bool = False) -> TaskState:
    """Return the state with a new attempt begun, from the last checkpoint where there is one. Pure."""
    return replace(
        state,
        phase=Phase.QUEUED,
        attempt=state.attempt + 1,
        seq=-1,
        reason=reason,
        message=message,
        party="platform" if infrastructure_fault else None,
        retry_count=state.retry_count + infrastructure_fault,
    )


def ended(state: TaskState, failure: Failure) -> TaskState:
    """Return the state of a task that will not be tried again. Pure."""
    return replace(state, phase=Phase.FAILED, reason=failure.reason, party=failure.party, message=failure.message)


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
    )


async def submit(state: TaskState, *, store: ObjectStore, executor: Executor) -> None:
    """Hand the current attempt to the executor. Idempotent; may be called by several processes.

    Where the task was stopped or went on to another attempt meanwhile, the job is cancelled again.
    """
    await executor.submit(await _written_spec(state, store))
    now = await task_state.read(store, state.task_id)
    if now is None or now.attempt != state.attempt or now.desired != "run" or now.phase.terminal:
        await executor.cancel(state.task_id, state.attempt, 0)


async def _written_spec(state: TaskState, store: ObjectStore) -> JobSpec:
    """Return the attempt's spec as first written: a checkpoint announced since must not make it another job."""
    key = layout.attempt(state.task_id, state.attempt) + "spec.json"
    return await compare_and_set.first(store, key, job_spec(state, store))
