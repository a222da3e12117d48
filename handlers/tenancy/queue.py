"""The queue of attempts that wait for a quota: an object each, whose key says whose turn it is in its project.

Where there are quotas every attempt goes into it, and only the reconciler lets one out: nobody passes those who wait.
"""

from decimal import Decimal
from typing import NamedTuple

import msgspec

from handlers import compare_and_set, layout, submissions, task_state
from handlers.ports.store import ObjectInfo, ObjectStore
from handlers.task_state import WITH_JOB, TaskState
from handlers.tenancy.ledger import Ask, Ledger
from handlers.tenancy.projects import Projects

#: The reason of a task that waits for a quota, in its status.
WAITING = "waiting-for-quota"
#: For how long an attempt without a time limit is taken to hold its GPUs: to the end of any day it may begin on.
_A_DAY = 86_400


class Place(NamedTuple):
    """An entry of the queue as a listing shows it. In a project the order is that of ``order``."""

    project: str
    task_id: str
    order: str
    key: str
    etag: str


async def let_through(state: TaskState, *, store: ObjectStore, projects: Projects) -> bool:
    """Return whether a task's current attempt may be submitted; where not, it is in the queue afterwards.

    Idempotent. Asks nothing of the bucket where there are no quotas.
    """
    if not projects.limited:
        return True
    ledger = await read(store)
    if ledger.granted(state.task_id, state.attempt):
        return True
    if await store.head(layout.attempt_spec(state.task_id, state.attempt)):
        return True  # it was submitted before, and may have been when there were no quotas
    ask = await _ask(state, store)
    await store.put(_key(ask), msgspec.json.encode(ask))
    # Of this and a stop, which is written first and takes the task out of the queue then, each sees the other.
    now = await task_state.read(store, state.task_id)
    if now is None or not waits(now, ask):
        await store.delete(_key(ask))
    return False


async def leave(state: TaskState, *, store: ObjectStore, projects: Projects) -> None:
    """Take a task out of the queue, so that the reconciler looks after it again. Idempotent; it need not be in it."""
    if projects.limited:
        submission = await submissions.load(store, state.task_id)
        if submission is not None:
            await store.delete(layout.admission(state.task_id, state.project, submission.submitted_at))


def waits(state: TaskState, ask: Ask) -> bool:
    """Return whether a task still wants what it asked for. Pure."""
    return state.attempt == ask.attempt and state.desired == "run" and state.phase in WITH_JOB


async def read(store: ObjectStore) -> Ledger:
    """Return the ledger."""
    return await compare_and_set.read(store, layout.QUOTA_LEDGER, Ledger) or Ledger()


async def places(store: ObjectStore, prefix: str) -> list[Place]:
    """Return who waits below a prefix of the queue."""
    return [_place(found) async for found in store.list(prefix)]


async def asked(store: ObjectStore, place: Place) -> Ask | None:
    """Return what an attempt in the queue asks for, or None where it has left it."""
    return await compare_and_set.read(store, place.key, Ask)


def _place(found: ObjectInfo) -> Place:
    _, _, project, order = found.key.split("/")
    return Place(layout.name_of(project), order.partition(".")[2], order, found.key, found.etag)


def _key(ask: Ask) -> str:
    return layout.admission(ask.task_id, ask.project, ask.submitted_at)


async def _ask(state: TaskState, store: ObjectStore) -> Ask:
    submission = await submissions.load(store, state.task_id)
    assert submission is not None, "only what was submitted has attempts"
    resources = state.resources
    gpus = resources.gpus * resources.nodes
    return Ask(
        task_id=state.task_id,
        attempt=state.attempt,
        project=state.project,
        submitted_at=submission.submitted_at,
        gpus=gpus,
        gpu_seconds=gpus * (resources.time_limit_seconds or _A_DAY),
        cost=await _cost(state, store),
    )


async def _cost(state: TaskState, store: ObjectStore) -> Decimal:
    """Return a task's quote, once: nothing where an earlier attempt was submitted, and so granted."""
    amount = state.quoted.amount if state.quoted else None
    for number in range(1, state.attempt):
        if amount is None or await store.head(layout.attempt_spec(state.task_id, number)):
            return Decimal(0)
    return Decimal(amount or 0)
