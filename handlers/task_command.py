"""task.command -> the executor and task.status."""

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.task import Party, Phase, TaskCommand
from handlers import attempts, layout, task_state
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports import Clock, Executor, ObjectStore, Receipts
from handlers.task_state import TaskState
from handlers.training_progress import terminated

STAGE = "task-command"


async def obey_command(
    event: Event[TaskCommand],
    *,
    store: ObjectStore,
    executor: Executor,
    receipts: Receipts,
    clock: Clock,
    cancel_grace_seconds: float,
) -> Outcome:
    """Carry out a user's order. Idempotent by task and ``command_id``: a repeated command acts once and answers again.

    What is wanted is written into the state before anything is done about it, so a stop that overtakes its own
    ``task.created`` holds too. A command that cannot be obeyed is answered with the reason. Any other command than
    stop for a task nobody has created ends as ``unknown-task`` and is not answered: there is no status to say.
    """
    command = event.data

    async def work() -> Decision:
        acted = False

        def decided(state: TaskState | None) -> TaskState | None:
            nonlocal acted
            wanted = _decide(command, state)
            acted = wanted is not None
            return wanted

        state = await task_state.change(store, clock, command.task_id, decided)
        if state and state.phase is Phase.TERMINATING:
            await executor.cancel(state.task_id, state.attempt, cancel_grace_seconds)
        if state and state.deleted:
            await _delete_files(store, state)
        refusal = _refusal(command, state) if state else None
        return Decision(name=_name(command, state, refusal, acted=acted), follow_ons=(refusal,) if refusal else ())

    # Not the id alone: a platform may count its commands a task, and the second task's stop must not be lost.
    outcome = await receipts.once(STAGE, f"{command.task_id}/{command.command_id}", event, work)
    state = await task_state.read(store, command.task_id)
    if state is None:
        return outcome
    # The topic is compacted: what stands last in it must be where the task is.
    return Outcome(name=outcome.name, events=outcome.events + task_state.said(state, event, STAGE))


def _name(command: TaskCommand, state: TaskState | None, refusal: FollowOn | None, *, acted: bool) -> str:
    if state is None:
        return "unknown-task"
    if refusal is not None:
        return "refused"
    return command.command if acted else "nothing-to-do"


def _decide(command: TaskCommand, state: TaskState | None) -> TaskState | None:
    if command.command == "stop":
        return _stopped(command, state)
    if command.command == "delete" and state is not None and state.phase.terminal and not state.deleted:
        message = "deleted: checkpoints and outputs are gone, exported models stay in the repository"
        return replace(state, desired="delete", deleted=True, reason="deleted", party="user", message=message)
    return None


def _stopped(command: TaskCommand, state: TaskState | None) -> TaskState | None:
    if state is None:
        # Overtook task.created, which will find it.
        return terminated(TaskState(task_id=command.task_id, project=command.project, desired="stop"))
    if state.phase.terminal or state.phase in (Phase.TERMINATING, Phase.COMPLETING):
        return None
    state = replace(state, desired="stop")
    if state.phase in attempts.WITH_JOB:
        message = "stopping: the trainer saves a checkpoint and ends"
        return replace(state, phase=Phase.TERMINATING, reason="stop-requested", party="user", message=message)
    return terminated(state)


def _refusal(command: TaskCommand, state: TaskState) -> FollowOn | None:
    """Return the answer to a command that cannot be obeyed. It says the task as it is, with the reason for the refusal.

    The task's own reason stays in its state: why it failed must not be forgotten because somebody asked for a pause.
    """
    if command.command == "stop" and state.phase is Phase.COMPLETING:
        reason, message = "too-late-to-stop", "training has ended and its models are being exported"
    elif command.command == "delete" and not state.phase.terminal:
        message = f"a task can be deleted once it has ended; it is {state.phase.value}. Stop it first"
        reason = "delete-not-allowed"
    elif command.command in ("pause", "resume", "export"):
        reason, message = "command-not-available", f"{command.command} is not available yet"
    else:
        return None
    party: Party = "platform" if reason == "command-not-available" else "user"
    answer = task_state.status(replace(state, reason=reason, party=party, message=message))
    return replace(answer, event_id=None, time=None)


async def _delete_files(store: ObjectStore, state: TaskState) -> None:
    """Delete what the attempts left. Form, state and receipts stay: they keep a replay from training again."""
    prefix = layout.attempt(state.task_id, 0).removesuffix("0/")
    keys = [found.key async for found in store.list(prefix)]
    for key in keys:
        await store.delete(key)
