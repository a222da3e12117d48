"""What a user's command makes of a task, and why it cannot be obeyed. Pure; the table of phases is in task_state.py."""

from typing import NamedTuple

from msgspec.structs import replace

from contracts.task import Phase, TaskCommand
from handlers import attempts
from handlers.task_state import WITH_JOB, TaskState, resumable


class Refusal(NamedTuple):
    """The answer to a command that cannot be obeyed."""

    reason: str
    message: str


def obeyed(command: TaskCommand, state: TaskState | None) -> TaskState | None:
    """Return the state a command leads to, or None where it changes nothing. Pure.

    The order of two commands is that of the states they find, never that of their arrival.
    """
    after = _obeyed(command, state)
    return replace(after, ordered_by=command.command_id) if after else None


def refused(command: TaskCommand, state: TaskState) -> Refusal | None:
    """Return why a command was not obeyed, by the state after :func:`obeyed`. Pure.

    None: it was obeyed, or there is nothing to do.
    """
    if state.ordered_by == command.command_id:
        return None  # it was obeyed, in a delivery that crashed; the task may have gone on since
    name, phase = command.command, state.phase
    if phase is Phase.COMPLETING and name in ("stop", "pause"):
        return Refusal(f"too-late-to-{name}", "training has ended and its models are being exported")
    if name == "delete" and not phase.terminal:
        message = f"a task can be deleted once it has ended; it is {phase.value}. Stop it first"
    elif name == "pause" and not resumable(state):
        message = f"a task can be paused while it is queued or training; it is {phase.value}"
    elif name == "resume" and not (state.desired == "resume" and _may_pause(state)):
        message = f"a task can be resumed while it is paused; it is {phase.value}"
    elif name == "export" and phase is not Phase.COMPLETED:
        message = f"a task has models once it is Completed; it is {phase.value}"
    else:
        return None
    return Refusal(f"{name}-not-allowed", message)


def _obeyed(command: TaskCommand, state: TaskState | None) -> TaskState | None:
    if command.command == "stop":
        return _stopped(command, state)
    if state is None:
        return None
    if command.command == "pause":
        return _paused(state)
    if command.command == "resume" and resumable(state):
        message = "it goes on as soon as its last attempt has ended"
        return replace(state, desired="resume", reason="resume-requested", party="user", message=message)
    if command.command == "delete" and state.phase.terminal and not state.deleted:
        message = "deleted: checkpoints and outputs are gone, exported models stay in the repository"
        return replace(state, desired="delete", deleted=True, reason="deleted", party="user", message=message)
    return None


def _stopped(command: TaskCommand, state: TaskState | None) -> TaskState | None:
    if state is None:
        # Overtook task.created, which will find it.
        return attempts.terminated(TaskState(task_id=command.task_id, project=command.project, desired="stop"))
    if state.phase.terminal or state.phase in (Phase.TERMINATING, Phase.COMPLETING):
        return None
    state = replace(state, desired="stop")
    if state.phase in WITH_JOB:
        message = f"stopping: {_what_happens(state)}"
        return replace(state, phase=Phase.TERMINATING, reason="stop-requested", party="user", message=message)
    return attempts.terminated(state)


def _what_happens(state: TaskState) -> str:
    """Return what an attempt does that is to end, as far as anybody heard of it."""
    if state.phase is Phase.QUEUED:
        return "its training has not begun, and it leaves the queue"
    return "the trainer saves a checkpoint and ends"


def _may_pause(state: TaskState) -> bool:
    return state.phase is Phase.PAUSED or state.phase in WITH_JOB


def _paused(state: TaskState) -> TaskState | None:
    if state.desired == "pause":
        return None
    state = replace(state, desired="pause")
    if state.phase is Phase.PAUSED:
        return attempts.paused(state)  # a resume that nothing was done about yet
    if state.phase in WITH_JOB:
        message = f"pausing: {_what_happens(state)}"
        return replace(state, reason="pause-requested", party="user", message=message)
    return None
