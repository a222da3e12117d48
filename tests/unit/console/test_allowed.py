"""The buttons of a task are the commands that the worker obeys, by the worker's own table."""

from typing import get_args, get_type_hints

import msgspec
import pytest

from contracts.task import Phase, TaskCommand, TaskStatus
from handlers import orders, task_state
from handlers.task_state import Desired, TaskState
from tests.fakes.clock import ManualClock
from tests.fakes.console import ConsoleUnderTest, form, status
from worker.console.allowed import commands

COMMANDS: tuple[str, ...] = get_args(get_type_hints(TaskCommand)["command"])

#: What a user may have asked for in each phase.
STATES: list[tuple[Phase, Desired]] = [
    (Phase.PREPROCESSING, "run"),
    *((phase, desired) for phase in (Phase.QUEUED, Phase.DEPLOYING, Phase.RUNNING) for desired in get_args(Desired)[:4]
      if desired != "stop"),
    (Phase.PAUSED, "pause"), (Phase.PAUSED, "resume"), (Phase.COMPLETING, "run"), (Phase.TERMINATING, "stop"),
    (Phase.COMPLETED, "run"), (Phase.TERMINATED, "stop"), (Phase.FAILED, "run"),
]  # fmt: skip


def _obeyed(name: str, state: TaskState) -> bool:
    command = TaskCommand(command_id="c", task_id="t-1", command=name)  # type: ignore[arg-type]
    after = orders.obeyed(command, state)
    # An export changes nothing of the task; it is obeyed where it is not refused.
    return after is not None or (name == "export" and orders.refused(command, state) is None)


def _status(state: TaskState) -> TaskStatus:
    body = task_state.status(msgspec.structs.replace(state, changed_at=ManualClock().now())).data
    assert isinstance(body, TaskStatus)
    return body


@pytest.mark.parametrize(("phase", "desired"), STATES)
def test_the_buttons_are_what_the_worker_would_obey(phase: Phase, desired: Desired) -> None:
    state = TaskState(task_id="t-1", phase=phase, desired=desired)
    obeyed = {name for name in COMMANDS if _obeyed(name, state)}
    assert set(commands(_status(state))) == obeyed


def test_what_is_deleted_has_no_buttons_and_what_is_not_there_yet_can_be_stopped() -> None:
    state = TaskState(task_id="t-1", phase=Phase.COMPLETED, reason="deleted", deleted=True)
    assert commands(_status(state)) == ()
    assert commands(None) == ("stop",)


@pytest.mark.parametrize("command", ["export", "delete"])
def test_a_task_that_has_ended_can_be_exported_again_and_deleted(command: str) -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Completed"))
    browser = console.operator()
    assert f'value="{command}"' in browser.get("/tasks/t-1").text
    assert browser.post("/tasks/t-1/commands", data={"command": command}).status_code == 200
    assert (console.said[-1].topic, console.said[-1].data.command) == ("task.command", command)


def test_a_refused_command_is_answered_on_the_page_until_the_task_goes_on() -> None:
    console = ConsoleUnderTest()
    console.hear("task.created", form("t-1"))
    console.hear("task.status", status("t-1", "Completed", 3, reason="completed"))
    before = console.view.changes.position
    refusal = status("t-1", "Completed", 3, reason="export-not-possible", message="its outputs are gone")
    console.hear("task.status", refusal)
    assert [change.kind for change in console.view.changes.since(before) or ()] == ["task"]
    browser = console.operator()
    assert "its outputs are gone" in browser.get("/tasks/t-1").text
    console.hear("task.status", status("t-1", "Completed", 3, reason="completed"))
    assert "its outputs are gone" in browser.get("/tasks/t-1").text, "the worker says the task itself right after it"
    console.hear("task.status", status("t-1", "Completed", 4, reason="deleted"))
    assert "its outputs are gone" not in browser.get("/tasks/t-1").text
