"""Pause and resume: an attempt ends with its checkpoint, another begins there. Order is by state, not by arrival."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Event
from contracts.task import Phase, TaskCommand
from handlers import layout, orders, task_state
from handlers.errors import Unavailable
from handlers.ports.jobs import JobStatus
from handlers.task_state import WITH_JOB, Desired, TaskState
from tests.fakes.faults import Crash, faulty_world, survives
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.swept import PATIENCE, Swept, running
from tests.fakes.world import World, bodies, command_event, form_event, ids, statuses

ORDERS = st.lists(st.integers(0, 2), max_size=80)


async def _obey(world: World, command: str, command_id: str | None = None) -> Any:
    """Give a command and return the answer, which comes before the task as it is."""
    outcome = await world.deliver("task-command", command_event(command, command_id=command_id))
    return statuses(outcome.events)[0]


async def _saved(world: World, attempt: int = 1, step: int = 5, state: str = "stopped", seq: int = 9) -> str:
    """Let an attempt say that it saved a checkpoint; return its key."""
    key = f"tasks/t-1/attempts/{attempt}/checkpoints/step-{step}/"
    progress = {"step": step, "total_steps": 9}
    checkpoint = {"step": step, "uri": world.store.uri(key)}
    await world.progress(state, seq, attempt=attempt, progress=progress, checkpoint=checkpoint)
    return key


# --- the story -----------------------------------------------------------------------------------------------


async def test_a_task_pauses_with_its_checkpoint_and_goes_on_from_there() -> None:
    swept = await running()
    world = swept.world
    world.executor.exit_on_cancel = None  # it takes its time to save
    status = await _obey(world, "pause")
    assert (status.phase, status.reason, status.party) == (Phase.RUNNING, "pause-requested", "user")
    assert status.resumable, "a resume would be obeyed already"
    assert world.executor.cancels == [("t-1", 1, 30.0)]

    key = await _saved(world)
    world.executor.end("t-1", 1, 0)
    paused = await swept.state()
    assert (paused.phase, paused.reason, paused.party) == (Phase.PAUSED, "paused-by-user", "user")
    assert await swept.sweep(after=PATIENCE * 100) == [], "a paused task is left alone"
    assert world.keys("active/") == [layout.active("t-1")]

    status = await _obey(world, "resume")
    assert (status.phase, status.reason, status.resumable) == (Phase.PAUSED, "resume-requested", False)
    said = await swept.sweep()
    assert [each.topic for each in said] == ["task.status", "training.dispatched"]
    resumed = await swept.state()
    assert (resumed.phase, resumed.attempt, resumed.desired, resumed.reason) == (Phase.QUEUED, 2, "run", "resumed")
    assert resumed.retry_count == 0, "that is what infrastructure faults use up"
    assert [(spec.attempt, spec.resume_from) for spec in world.submitted] == [(1, None), (2, key)]
    assert await swept.sweep(after=PATIENCE) == [], "the new job lives"

    await world.progress("succeeded", 3, attempt=2, outputs=[await world.leave_output(attempt=2)])
    done = await swept.state()
    assert (done.phase, done.promoted) == (Phase.COMPLETING, 2)


async def test_pausing_what_waits_in_the_queue_pauses_it_without_running() -> None:
    swept = Swept()
    swept.world.executor.slots = 0
    await swept.world.dispatched()
    outcome = await swept.world.deliver("task-command", command_event("pause"))
    (status,) = statuses(outcome.events)
    assert (status.phase, status.reason, status.resumable) == (Phase.PAUSED, "paused-by-user", True)
    assert await swept.world.executor.status("t-1", 1) == JobStatus(state="ended")
    swept.world.executor.slots = 1
    await _obey(swept.world, "resume")
    await swept.sweep()
    assert swept.world.executor.started == [("t-1", 2)]
    assert swept.world.executor.submits[-1].resume_from is None


async def test_a_pause_whose_trainer_dies_without_a_word_is_one_from_the_last_checkpoint() -> None:
    swept = await running()
    key = await _saved(swept.world, state="running", seq=2)
    swept.world.executor.exit_on_cancel = -9
    await _obey(swept.world, "pause")
    assert await swept.sweep(after=PATIENCE - 1) == [], "its last word may be on its way"
    (status,) = statuses(await swept.sweep(after=PATIENCE))
    assert (status.phase, status.reason, status.retry_count) == (Phase.PAUSED, "paused-by-user", 0)
    await _obey(swept.world, "resume")
    await swept.sweep()
    assert swept.world.executor.submits[-1].resume_from == key


async def test_a_pause_whose_cancel_was_lost_is_asked_for_again() -> None:
    swept = await running()
    swept.world.executor.available = False
    with pytest.raises(Unavailable):
        await _obey(swept.world, "pause")
    assert (await swept.state()).desired == "pause", "written down before anything is done about it"
    swept.world.executor.available = True
    swept.world.executor.exit_on_cancel = None
    await swept.sweep()
    await swept.sweep()
    assert swept.world.executor.cancels == [("t-1", 1, 30.0)] * 2


async def test_a_resume_that_overtakes_the_end_of_the_pause_begins_when_that_has_ended() -> None:
    swept = await running()
    world = swept.world
    world.executor.exit_on_cancel = None
    await _obey(world, "pause")
    status = await _obey(world, "resume")
    assert (status.phase, status.reason) == (Phase.RUNNING, "resume-requested")
    await swept.sweep()
    assert (await swept.state()).attempt == 1, "one attempt at a time"
    key = await _saved(world)
    assert (await swept.state()).phase is Phase.PAUSED
    world.executor.end("t-1", 1, 0)
    await swept.sweep()
    state = await swept.state()
    assert (state.phase, state.attempt, state.retry_count) == (Phase.QUEUED, 2, 0)
    assert world.executor.submits[-1].resume_from == key


async def test_a_pause_takes_back_a_resume_that_nothing_was_done_about_yet() -> None:
    swept = await running()
    await _obey(swept.world, "pause", "pause-1")
    await _saved(swept.world)
    await _obey(swept.world, "resume")
    status = await _obey(swept.world, "pause", "pause-2")
    assert (status.phase, status.reason, status.resumable) == (Phase.PAUSED, "paused-by-user", True)
    await swept.sweep()
    assert (await swept.state()).attempt == 1


async def test_a_task_may_be_paused_and_resumed_for_ever() -> None:
    swept = await running()
    for attempt in range(1, 16):
        await _obey(swept.world, "pause", f"pause-{attempt}")
        await _saved(swept.world, attempt=attempt, step=attempt)
        await _obey(swept.world, "resume", f"resume-{attempt}")
        await swept.sweep()
    state = await swept.state()
    assert (state.attempt, state.retry_count) == (16, 0)
    assert [end.attempt for end in state.ends] == list(range(6, 16)), "the last ten"
    assert {said.attempt for said in swept.dispatched()} == set(range(2, 17))


async def test_a_stop_of_a_paused_task_ends_it_and_of_a_pausing_one_too() -> None:
    for saved in (True, False):
        swept = await running()
        swept.world.executor.exit_on_cancel = None
        await _obey(swept.world, "pause")
        if saved:
            await _saved(swept.world)
        await _obey(swept.world, "stop")
        await _saved(swept.world, seq=10)
        assert (await swept.state()).phase is Phase.TERMINATED
        answer = await _obey(swept.world, "resume")
        assert (answer.phase, answer.reason) == (Phase.TERMINATED, "resume-not-allowed")


# --- what cannot be obeyed, and when ---------------------------------------------------------------------------


async def _in(phase: Phase, desired: Desired) -> World:
    world = World()
    state = TaskState(task_id="t-1", phase=phase, desired=desired, attempt=1, reason="as-it-was")
    await task_state.change(world.store, world.clock, "t-1", lambda _: state)
    return world


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in WITH_JOB | {Phase.PAUSED}])
async def test_only_what_is_queued_or_trains_can_be_paused(phase: Phase) -> None:
    world = await _in(phase, "run")
    status = await _obey(world, "pause")
    reason = "too-late-to-pause" if phase is Phase.COMPLETING else "pause-not-allowed"
    assert (status.phase, status.reason, status.party) == (phase, reason, "user")
    assert status.message
    assert (await world.state("t-1")).reason == "as-it-was"
    assert world.executor.cancels == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.PAUSED])
async def test_only_what_is_paused_or_about_to_be_can_be_resumed(phase: Phase) -> None:
    world = await _in(phase, "run")
    status = await _obey(world, "resume")
    assert (status.phase, status.reason, status.party) == (phase, "resume-not-allowed", "user")
    assert phase.value in status.message
    assert (await world.state("t-1")).reason == "as-it-was"


POSSIBLE = [
    (phase, desired)
    for phase, desired in product(Phase, get_args(Desired))
    if not (phase is Phase.PAUSED and desired not in ("pause", "resume"))
]


@pytest.mark.parametrize(("phase", "desired"), POSSIBLE, ids=[f"{phase.value}-{wish}" for phase, wish in POSSIBLE])
def test_resumable_is_said_exactly_where_a_resume_is_obeyed(phase: Phase, desired: Desired) -> None:
    state = TaskState(task_id="t-1", phase=phase, desired=desired, attempt=1)
    resume = TaskCommand(command_id="c", task_id="t-1", command="resume")
    after = orders.obeyed(resume, state)
    assert task_state.resumable(state) == (after is not None)
    if after is None:
        # Where it is about to go on already there is nothing to do, and nothing to refuse.
        going_on = desired == "resume" and phase in WITH_JOB | {Phase.PAUSED}
        assert (orders.refused(resume, state) is None) == going_on
    else:
        assert orders.refused(resume, after) is None


# --- once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("command", ["pause", "resume"])
async def test_killed_at_any_call_the_redelivered_command_is_carried_out_once(command: str, *, after: bool) -> None:
    async def begin() -> tuple[Swept, Any]:
        world, faults = faulty_world()
        swept = await running(world)
        if command == "resume":
            await _obey(world, "pause")
            await _saved(world)
        return swept, faults

    swept, faults = await begin()
    already = len(faults.calls)
    baseline = await swept.world.deliver("task-command", command_event(command))
    for at in range(len(faults.calls) - already):
        swept, faults = await begin()
        deliver = partial(swept.world.deliver, "task-command", command_event(command))
        outcome = await survives(faults, at, after=after, deliver=deliver)
        assert outcome.name == command, "it was obeyed, if not by this delivery"
        assert [each.topic for each in outcome.events] == [each.topic for each in baseline.events]
        again = await deliver()
        assert (ids(again.events), bodies(again.events)) == (ids(outcome.events), bodies(outcome.events))
        await _saved(swept.world, seq=10)
        for _ in range(3):
            await swept.sweep(after=PATIENCE)
        state = await swept.state()
        assert (state.phase, state.attempt) == ((Phase.QUEUED, 2) if command == "resume" else (Phase.PAUSED, 1))


async def test_a_redelivered_resume_is_no_refusal_because_the_task_has_gone_on() -> None:
    world, faults = faulty_world()
    swept = await running(world)
    await _obey(world, "pause")
    await _saved(world)
    faults.crash_at, faults.after = len(faults.calls) + 2, True
    with pytest.raises(Crash, match="after put tasks"):
        await _obey(world, "resume")
    faults.crash_at = None
    await swept.sweep()
    outcome = await world.deliver("task-command", command_event("resume"))
    assert outcome.name == "resume"
    assert [status.phase for status in statuses(outcome.events)] == [Phase.QUEUED]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_of_the_new_attempt_the_next_reconciler_finishes_it(*, after: bool) -> None:
    async def begin() -> tuple[Swept, Any]:
        world, faults = faulty_world()
        swept = await running(world)
        await _obey(world, "pause")
        await _saved(world)
        await _obey(world, "resume")
        return swept, faults

    swept, faults = await begin()
    already = len(faults.calls)
    baseline = set(ids(await swept.sweep()))
    for at in range(len(faults.calls) - already):
        swept, faults = await begin()
        faults.crash_at, faults.after = len(faults.calls) + at, after
        try:
            await swept.reconciler.sweep()
        except Crash:
            assert "list" in faults.calls[-1]
        faults.crash_at = None
        swept.reconciler = swept.another()
        await swept.sweep()
        await swept.sweep(after=PATIENCE)
        assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
        assert (await swept.state()).attempt == 2
        assert set(ids(swept.publisher.events)) == baseline, faults.calls[already + at]


# --- crossings -------------------------------------------------------------------------------------------------


async def _pauses(world: World) -> list[Event[Any]]:
    return list((await world.deliver("task-command", command_event("pause"))).events)


async def _submits(world: World) -> list[Event[Any]]:
    return list((await world.deliver("training-dispatch", form_event("t-1", "d-1"))).events)


def _judged() -> World:
    world = World()

    async def judge() -> None:
        await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))

    steps_of(judge())
    return world


@pytest.mark.parametrize("pause_first", [False, True])
def test_a_pause_that_crosses_the_dispatch_leaves_no_job_behind_or_came_too_early(*, pause_first: bool) -> None:
    actors = (_pauses, _submits) if pause_first else (_submits, _pauses)
    ends = set()
    for order in preempted(steps_of(actors[0](_judged()))):
        world = _judged()
        interleave(actors[0](world), actors[1](world), order=order)
        state = _now(world)
        ends.add((state.phase, state.desired))
        if state.desired == "pause":
            assert _job(world).state in ("ended", "unknown"), "a paused task's job runs on"
    # What nobody has decided yet cannot be paused: it is answered, or unknown.
    assert ends <= {(Phase.PAUSED, "pause"), (Phase.QUEUED, "pause"), (Phase.QUEUED, "run")}
    assert (Phase.PAUSED, "pause") in ends or pause_first


def _now(world: World) -> TaskState:
    return _found(world.state("t-1"))  # type: ignore[no-any-return]


def _job(world: World) -> JobStatus:
    return _found(world.executor.status("t-1", 1))  # type: ignore[no-any-return]


def _found(asking: Any) -> Any:
    found: list[Any] = []

    async def look() -> None:
        found.append(await asking)

    steps_of(look())
    return found[0]


@settings(max_examples=100)
@given(ORDERS)
def test_a_pause_a_resume_and_a_success_in_any_interleaving_end_in_one_success(order: list[int]) -> None:
    swept = Swept()

    async def begin() -> None:
        await swept.world.dispatched()
        await swept.world.progress("running", 1)
        swept.world.executor.exit_on_cancel = None

    async def resumes() -> None:
        await swept.world.deliver("task-command", command_event("resume"))

    async def succeeds() -> None:
        await swept.world.progress("succeeded", 5, outputs=[await swept.world.leave_output()])

    steps_of(begin())
    interleave(_pauses(swept.world), resumes(), succeeds(), order=order)
    state = _now(swept.world)
    assert (state.phase, state.desired, state.promoted) == (Phase.COMPLETING, "run", 1)


def test_a_job_that_succeeds_with_its_first_word_while_it_is_paused_has_succeeded() -> None:
    def dispatched() -> World:
        world = World()
        steps_of(world.dispatched())
        return world

    async def succeeds(world: World) -> None:
        await world.progress("succeeded", 0, outputs=[await world.leave_output()])

    for order in preempted(steps_of(_pauses(dispatched()))):
        world = dispatched()
        interleave(_pauses(world), succeeds(world), order=order)
        assert (_now(world).phase, _now(world).desired, _now(world).promoted) == (Phase.COMPLETING, "run", 1)


async def _sweeping(swept: Swept, other: Coroutine[Any, Any, Any], turns: int) -> None:
    """Sweep, and let another one go ahead after so many turns."""
    sweeping = asyncio.create_task(swept.reconciler.sweep())
    for _ in range(turns):
        await asyncio.sleep(0)
    await other
    await sweeping


async def test_a_success_that_arrives_while_the_next_attempt_begins_wins_or_is_fenced_whole() -> None:
    ends = set()
    for turns in range(25):
        swept = await running()
        await _obey(swept.world, "pause")
        await swept.sweep()
        await swept.sweep(after=PATIENCE)
        await _obey(swept.world, "resume")
        output = await swept.world.leave_output()
        await _sweeping(swept, swept.world.progress("succeeded", 5, outputs=[output]), turns)
        state = await swept.state()
        ends.add((state.phase, state.attempt, state.promoted))
    assert ends == {(Phase.COMPLETING, 1, 1), (Phase.QUEUED, 2, None)}


async def test_a_pause_that_crosses_a_retry_leaves_no_job_behind() -> None:
    attempts = set()
    for turns in range(30):
        swept = await running()
        swept.world.executor.end("t-1", 1, 1)
        await swept.world.clock.advance(PATIENCE)
        await _sweeping(swept, _pauses(swept.world), turns)
        for _ in range(3):
            await swept.sweep(after=PATIENCE)
        state = await swept.state()
        attempts.add(state.attempt)
        assert (state.phase, state.desired) == (Phase.PAUSED, "pause")
        for attempt in (1, 2):
            assert (await swept.world.executor.status("t-1", attempt)).state != "running"
    assert attempts == {1, 2}


async def test_the_same_pause_by_two_workers_is_one_pause() -> None:
    for order in preempted(40):
        world = World()
        steps_of(world.dispatched())
        interleave(_pauses(world), _pauses(world), order=order)
        assert len(world.keys("receipts/task-command/")) == 1
        assert (_now(world).desired, _now(world).ordered_by) == ("pause", "t-1-pause")
        assert _job(world).state == "ended"


async def test_the_engine_is_not_asked_for_tasks_that_are_paused() -> None:
    swept = await running()
    await _obey(swept.world, "pause")
    await _saved(swept.world)
    swept.world.executor.available = False
    assert await swept.sweep(after=PATIENCE) == []
    swept.world.executor.available = True
    await _obey(swept.world, "resume")
    await swept.sweep()
    assert (await swept.state()).attempt == 2
