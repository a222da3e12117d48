"""A user's orders: written down before they are acted on, obeyed once, answered always."""

from functools import partial
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from contracts.task import Phase, TaskCommand
from handlers import layout, orders, task_state
from handlers.errors import Unavailable
from handlers.task_state import TaskState
from tests.fakes.faults import faulty_world, survives
from tests.fakes.world import World, bodies, command_event, form_event, ids, plan_of, statuses

WITH_JOB = [Phase.QUEUED, Phase.DEPLOYING, Phase.RUNNING]
ENDED = [Phase.COMPLETED, Phase.TERMINATED, Phase.FAILED]


async def _in(phase: Phase, world: World | None = None, **fields: Any) -> World:
    world = world or World()
    state = TaskState(task_id="t-1", phase=phase, attempt=1, reason="as-it-was", message="as it was")
    await task_state.change(world.store, world.clock, "t-1", lambda _: replace(state, **fields))
    await plan_of(world)
    return world


async def _obey(world: World, command: str, command_id: str | None = None) -> Any:
    outcome = await world.deliver("task-command", command_event(command, command_id=command_id))
    return statuses(outcome.events)[0] if outcome.events else None


# --- stop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", WITH_JOB)
async def test_stopping_what_has_a_job_writes_it_down_and_cancels(phase: Phase) -> None:
    world = await _in(phase)
    status = await _obey(world, "stop")
    assert (status.phase, status.reason, status.party) == (Phase.TERMINATING, "stop-requested", "user")
    assert (await world.state("t-1")).desired == "stop"
    assert world.executor.cancels == [("t-1", 1, 30.0)]


@pytest.mark.parametrize(("command", "doing"), [("stop", "stopping"), ("pause", "pausing")])
@pytest.mark.parametrize(
    ("phase", "what"),
    [
        (Phase.QUEUED, "its training has not begun, and it leaves the queue"),
        (Phase.RUNNING, "the trainer saves a checkpoint and ends"),
    ],
)
def test_no_checkpoint_is_promised_of_what_has_not_begun(
    command: Literal["stop", "pause"], doing: str, phase: Phase, what: str
) -> None:
    order = TaskCommand(command_id="c-1", task_id="t-1", command=command)
    after = orders.obeyed(order, TaskState(task_id="t-1", phase=phase, attempt=1))
    assert after is not None
    assert after.message == f"{doing}: {what}"


@pytest.mark.parametrize("phase", [Phase.PREPROCESSING, Phase.PAUSED])
async def test_stopping_what_has_no_job_ends_it_at_once(phase: Phase) -> None:
    world = await _in(phase, attempt=0)
    status = await _obey(world, "stop")
    assert (status.phase, status.terminal, status.reason) == (Phase.TERMINATED, True, "stopped-by-user")
    assert world.executor.cancels == []


async def test_a_stop_before_its_task_holds_when_the_task_comes() -> None:
    world = World()
    assert (await _obey(world, "stop")).phase is Phase.TERMINATED
    await world.run(await world.import_dataset("d-1", b"{}\n"), form_event())
    assert world.executor.submits == []
    assert (await world.state("t-1")).phase is Phase.TERMINATED


async def test_a_stop_while_it_completes_comes_too_late_and_says_so() -> None:
    world = await _in(Phase.COMPLETING, promoted=1)
    status = await _obey(world, "stop")
    assert (status.phase, status.reason) == (Phase.COMPLETING, "too-late-to-stop")
    assert (await world.state("t-1")).desired == "run"
    assert world.executor.cancels == []


@pytest.mark.parametrize("phase", ENDED)
async def test_a_stop_of_what_has_ended_changes_nothing(phase: Phase) -> None:
    world = await _in(phase)
    before = await world.state("t-1")
    status = await _obey(world, "stop")
    assert (status.phase, status.reason) == (phase, "as-it-was")
    assert await world.state("t-1") == before


async def test_a_second_stop_asks_the_executor_again_and_changes_nothing() -> None:
    world = await _in(Phase.RUNNING)
    await _obey(world, "stop", "first")
    before = await world.state("t-1")
    await _obey(world, "stop", "second")
    assert await world.state("t-1") == before
    assert len(world.executor.cancels) == 2


async def test_what_cannot_be_cancelled_now_is_written_down_all_the_same() -> None:
    world = await _in(Phase.RUNNING)
    world.executor.available = False
    with pytest.raises(Unavailable):
        await _obey(world, "stop")
    assert (await world.state("t-1")).phase is Phase.TERMINATING
    world.executor.available = True
    assert (await _obey(world, "stop")).phase is Phase.TERMINATING
    assert world.executor.cancels == [("t-1", 1, 30.0)]


# --- delete --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if not phase.terminal])
async def test_only_what_has_ended_can_be_deleted(phase: Phase) -> None:
    world = await _in(phase)
    await world.leave_output()
    status = await _obey(world, "delete")
    assert (status.phase, status.reason, status.party) == (phase, "delete-not-allowed", "user")
    assert phase.value in status.message
    assert world.keys("tasks/t-1/attempts/")


@pytest.mark.parametrize("phase", ENDED)
async def test_deleting_takes_what_attempts_left_and_keeps_what_a_replay_needs(phase: Phase) -> None:
    world = await _in(phase)
    await world.leave_output("t-1")
    await world.leave_output("t-10")
    for kept in ("tasks/t-1/form.json", "tasks/t-1/plan.json", "models/t-1-step10/manifest.json"):
        await world.store.put(kept, b"{}")
    await world.store.put("receipts/training-dispatch/-/t-1.json", b"{}")
    others = [key for key in world.store.objects if not key.startswith("tasks/t-1/attempts/")]
    status = await _obey(world, "delete")
    assert (status.phase, status.reason) == (phase, "deleted")
    assert world.keys("tasks/t-1/attempts/") == []
    assert set(others) <= set(world.store.objects)


async def test_a_deleted_task_is_never_trained_again() -> None:
    world = World()
    await world.dispatched()
    await world.progress("failed", failure={"reason": "r", "party": "user", "message": "m", "retryable": False})
    await _obey(world, "delete")
    await world.run(form_event())
    assert len(world.executor.submits) == 1
    assert (await world.state("t-1")).deleted


@pytest.mark.parametrize("command", ["delete", "pause", "resume", "export"])
async def test_what_is_asked_of_an_unknown_task_is_no_error_and_not_called_done(command: str) -> None:
    world = World()
    outcome = await world.deliver("task-command", command_event(command))
    assert (outcome.name, outcome.events) == ("unknown-task", ())
    assert world.keys("tasks/") == []


# --- the outcome's name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "phase", "name"),
    [
        ("stop", Phase.RUNNING, "stop"),
        ("stop", Phase.COMPLETED, "nothing-to-do"),
        ("stop", Phase.COMPLETING, "refused"),
        ("delete", Phase.FAILED, "delete"),
        ("delete", Phase.RUNNING, "refused"),
        ("pause", Phase.RUNNING, "pause"),
        ("pause", Phase.FAILED, "refused"),
        ("resume", Phase.RUNNING, "refused"),
        ("export", Phase.COMPLETED, "export"),
        ("export", Phase.RUNNING, "refused"),
    ],
)
async def test_the_outcome_says_what_was_done_not_what_was_asked(command: str, phase: Phase, name: str) -> None:
    world = await _in(phase)
    assert (await world.deliver("task-command", command_event(command))).name == name


# --- once ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["stop", "delete", "pause", "resume", "export"])
@pytest.mark.parametrize("phase", Phase)
async def test_a_repeated_command_acts_once_and_is_answered_again(phase: Phase, command: str) -> None:
    world = await _in(phase)
    await world.leave_output()
    ordered = command_event(command)
    first = await world.deliver("task-command", ordered)
    stored, cancels = dict(world.store.objects), list(world.executor.cancels)
    again = await world.deliver("task-command", ordered)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))
    assert world.store.objects == stored
    assert world.executor.cancels == cancels


@pytest.mark.parametrize("command", ["resume", "delete"])
async def test_a_refused_command_is_answered_and_the_task_keeps_its_own_reason(command: str) -> None:
    world = await _in(Phase.RUNNING)
    outcome = await world.deliver("task-command", command_event(command))
    answer, current = statuses(outcome.events)
    assert answer.reason != "as-it-was"
    assert (current.reason, current.message) == ("as-it-was", "as it was")
    assert (await world.state("t-1")).revision == current.revision == 1


async def test_the_same_command_id_for_another_task_is_another_command() -> None:
    world = World()
    for task_id in ("t-1", "t-2"):
        created = TaskState(task_id=task_id, attempt=1)
        await task_state.change(world.store, world.clock, task_id, lambda _, new=created: new)  # type: ignore[misc]
        outcome = await world.deliver("task-command", command_event("stop", task_id, command_id="stop-1"))
        assert [status.phase for status in statuses(outcome.events)] == [Phase.TERMINATED]
        assert (await world.state(task_id)).desired == "stop"


async def test_a_replayed_stop_does_not_stop_what_came_after_it() -> None:
    world = await _in(Phase.PAUSED)
    ordered = command_event("stop")
    await world.deliver("task-command", ordered)
    # As if the id were used again years later, by a platform that counts from one anew.
    world.store.objects.pop(layout.task("t-1", "state"))
    await _in(Phase.RUNNING, world)
    outcome = await world.deliver("task-command", ordered)
    assert statuses(outcome.events)[-1].phase is Phase.RUNNING
    assert world.executor.cancels == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("command", "phase"), [("stop", Phase.RUNNING), ("delete", Phase.COMPLETED)])
async def test_killed_at_any_call_the_redelivered_command_is_carried_out(
    command: str, phase: Phase, *, after: bool
) -> None:
    world, faults = faulty_world()
    await _in(phase, world)
    await world.leave_output()
    already = len(faults.calls)
    baseline = await world.deliver("task-command", command_event(command))
    for at in range(len(faults.calls) - already):
        world, faults = faulty_world()
        await _in(phase, world)
        await world.leave_output()
        deliver = partial(world.deliver, "task-command", command_event(command))
        outcome = await survives(faults, at, after=after, deliver=deliver)
        assert (ids(outcome.events), bodies(outcome.events)) == (ids(baseline.events), bodies(baseline.events))
        assert bool(world.executor.cancels) == (command == "stop")
        assert bool(world.keys("tasks/t-1/attempts/")) == (command == "stop")
