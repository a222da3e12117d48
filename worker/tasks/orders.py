"""Telling a task to stop, pause or go on, as any platform does: by an event. The answer is what a worker recorded."""

import asyncio
from typing import Literal
from uuid import uuid4

import msgspec
from msgspec import Struct

from contracts.task import TaskCommand, TaskStatus
from handlers import task_state
from handlers.outcome import Outcome
from handlers.ports.store import ObjectStore
from handlers.task_command import STAGE
from worker.clock import SystemClock
from worker.could_not import CouldNot
from worker.delivery.receipts import BucketReceipts
from worker.publish import publish_event
from worker.settings import Settings
from worker.story import UnknownTask

Order = Literal["stop", "pause", "resume"]

_LOOK_SECONDS = 0.25


class Answer(Struct, frozen=True, kw_only=True):
    """What became of an order. ``outcome`` is ``obeyed``, ``refused``, ``nothing-to-do`` or ``published``: not waited.

    ``phase``, ``reason`` and ``message`` are the task's now; of a refusal, why.
    """

    task_id: str
    command: Order
    command_id: str
    outcome: Literal["obeyed", "refused", "nothing-to-do", "published"]
    phase: str
    reason: str
    message: str


class NoAnswer(CouldNot):
    """No worker has obeyed an order yet. It stands, and is obeyed when one comes to it."""


async def give(
    settings: Settings, store: ObjectStore, order: Order, task_id: str, *, command_id: str | None, seconds: float
) -> Answer:
    """Publish an order about a task and wait for its answer, which costs four reads of the bucket a second.

    Idempotent by ``command_id``: the same again is answered the same. Without one the order has an id of its own.
    ``seconds`` 0: do not wait. A pause is obeyed once it is written down; the trainer saves and ends after that.

    Raises:
        UnknownTask: nothing is known of the task, so nothing was published: a stop would hold for whoever uses its id.
        NoAnswer: no worker obeyed in time.
        BrokerUnavailable, NotPublishable, Unavailable.
    """
    state = await task_state.read(store, task_id)
    if state is None:
        raise UnknownTask(f"nothing is known of task {task_id}, so it was told nothing")
    name = command_id or f"cli-{uuid4().hex}"
    body = TaskCommand(command_id=name, task_id=task_id, command=order, project=state.project)
    await publish_event(settings, "task.command", msgspec.json.encode(body))
    outcome = await _recorded(store, f"{task_id}/{name}", seconds) if seconds else None
    if seconds and outcome is None:
        raise NoAnswer(
            f"no worker answered within {seconds:g} s; the order stands as {name}, and is obeyed when one comes to it: "
            f"see worker explain {task_id}, and whether a worker runs the stage {STAGE}"
        )
    status: TaskStatus = task_state.status(await task_state.read(store, task_id) or state).data
    if outcome and outcome.name == "refused":
        status = msgspec.json.decode(bytes(outcome.events[0].data), type=TaskStatus)
    return Answer(
        task_id=task_id,
        command=order,
        command_id=name,
        outcome=_meaning(order, outcome),
        phase=status.phase.value,
        reason=status.reason,
        message=status.message,
    )


async def _recorded(store: ObjectStore, business_key: str, seconds: float) -> Outcome | None:
    """Return what a worker recorded about an order, or None where none did in time."""
    receipts = BucketReceipts(store, SystemClock(), {STAGE: 0})
    try:
        async with asyncio.timeout(seconds):
            # A receipt wakes nobody.
            while (outcome := await receipts.recorded(STAGE, business_key)) is None:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        return None
    return outcome


def _meaning(order: Order, outcome: Outcome | None) -> Literal["obeyed", "refused", "nothing-to-do", "published"]:
    if outcome is None:
        return "published"
    if outcome.name == order:
        return "obeyed"
    return "refused" if outcome.name == "refused" else "nothing-to-do"
