"""task.command -> the executor and task.status; for an export also model.exported."""

from dataclasses import dataclass

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.task import Phase, TaskCommand
from handlers import attempts, layout, model_export, orders, task_state
from handlers.orders import Refusal
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports.clock import Clock
from handlers.ports.executors import Executor, Executors
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.task_state import WITH_JOB, TaskState
from handlers.tenancy import queue
from handlers.tenancy.projects import Projects

STAGE = "task-command"


async def obey_command(
    event: Event[TaskCommand],
    *,
    store: ObjectStore,
    executors: Executors,
    receipts: Receipts,
    clock: Clock,
    cancel_grace_seconds: float,
    projects: Projects,
) -> Outcome:
    """Carry out a user's order. Idempotent by task and ``command_id``: a repeated command acts once and answers again.

    What is wanted is written into the state before anything is done about it, so a stop that overtakes its own
    ``task.created`` holds too. A command that cannot be obeyed is answered with the reason. Any other command than
    stop for a task nobody has created ends as ``unknown-task`` and is not answered: there is no status to say. A resume
    is carried out by the reconciler, which begins every attempt but the first.
    """
    command = event.data
    carrier = _Carrier(store, executors, receipts, clock, cancel_grace_seconds, projects)

    async def work() -> Decision:
        return await carrier.carry_out(event)

    # Not the id alone: a platform may count its commands a task, and the second task's stop must not be lost.
    outcome = await receipts.once(STAGE, f"{command.task_id}/{command.command_id}", event, work)
    state = await task_state.read(store, command.task_id)
    if state is None:
        return outcome
    models = await model_export.recorded(state, receipts) if outcome.name == "export" else ()
    # The topic is compacted: what stands last in it must be where the task is.
    return Outcome(name=outcome.name, events=outcome.events + models + task_state.said(state, event, STAGE))


@dataclass(frozen=True)
class _Carrier:
    """Carries out one command, over its ports. Safe to be repeated: a crash may come before its receipt."""

    store: ObjectStore
    executors: Executors
    receipts: Receipts
    clock: Clock
    grace_seconds: float
    projects: Projects

    async def carry_out(self, event: Event[TaskCommand]) -> Decision:
        command = event.data
        state = await task_state.change(
            self.store, self.clock, command.task_id, lambda found: orders.obeyed(command, found)
        )
        if state is None:
            return Decision(name="unknown-task")
        refusal = orders.refused(command, state)
        if _should_end(command, state):
            await queue.leave(state, store=self.store, projects=self.projects)
            executor = self.executors.of(state.executor)
            await executor.cancel(state.task_id, state.attempt, self.grace_seconds)
            await self._pause_at_once(state, executor)
        if state.deleted:
            await _delete_files(self.store, state)
        if command.command == "export" and refusal is None:
            fault = await model_export.restore(event, state, store=self.store, receipts=self.receipts)
            refusal = Refusal("export-impossible", fault) if fault else None
        if refusal is not None:
            return Decision(name="refused", follow_ons=(_answer(state, refusal),))
        acted = command.command == "export" or state.ordered_by == command.command_id
        return Decision(name=command.command if acted else "nothing-to-do")

    async def _pause_at_once(self, state: TaskState, executor: Executor) -> None:
        """Call a task paused whose job has not begun, and will not: nothing of it is on its way."""
        if state.phase not in WITH_JOB or state.seq >= 0:
            return
        job = await executor.status(state.task_id, state.attempt)
        if job.state in ("queued", "running"):
            return

        def decided(now: TaskState | None) -> TaskState | None:
            return attempts.paused(now) if now is not None and now.revision == state.revision else None

        await task_state.change(self.store, self.clock, state.task_id, decided)


def _should_end(command: TaskCommand, state: TaskState) -> bool:
    if command.command == "stop":
        return state.phase is Phase.TERMINATING
    return command.command == "pause" and state.desired == "pause" and state.phase in WITH_JOB


def _answer(state: TaskState, refusal: Refusal) -> FollowOn:
    """Return the task as it is, with the reason for the refusal.

    The task's own reason stays in its state: why it failed must not be forgotten because somebody asked for a pause.
    """
    answer = task_state.status(replace(state, reason=refusal.reason, party="user", message=refusal.message))
    return replace(answer, event_id=None, time=None)


async def _delete_files(store: ObjectStore, state: TaskState) -> None:
    """Delete what the attempts left. Form, state and receipts stay: they keep a replay from training again."""
    prefix = layout.attempt(state.task_id, 0).removesuffix("0/")
    keys = [found.key async for found in store.list(prefix)]
    for key in keys:
        await store.delete(key)
