"""Quotas against the world: sweeps that cross each other or a stop, and processes that are killed at every call."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.task import Phase
from handlers.tenancy.ledger import Ledger
from handlers.tenancy.limits import Limits
from tests.fakes.faults import Crash, Faults, faulty_world, survives
from tests.fakes.quotas import gpus, grants, limited, started, submits, submitted
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.swept import PATIENCE, Swept
from tests.fakes.world import World, command_event, ids, received
from worker.sweeps.admission import AdmissionSweep
from worker.sweeps.reconciler import Reconciler
from worker.sweeps.remedies import Remedies

ORDERS = st.lists(st.integers(0, 2), max_size=150)
KILLED = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


def _waiting(*events: Any, **limits: Any) -> Swept:
    swept = limited(**limits)
    gpus(swept.world, 1)
    steps_of(submits(swept.world, *events))
    return swept


def _sweeper(swept: Swept) -> AdmissionSweep:
    """Return the part of a reconciler that lets out: its looks at tasks run side by side, which no step can order."""
    world = swept.world
    remedies = Remedies(
        world.store, world.ports["executors"], world.ports["projects"], swept.publisher, world.clock, 30.0
    )
    return AdmissionSweep(world.store, world.ports["projects"], world.clock, remedies, 30.0)


async def _swept_to_rest(swept: Swept) -> Ledger:
    for _ in range(3):
        await swept.sweep(after=PATIENCE)
    return await grants(swept.world)


def _never_over(swept: Swept, granted: int) -> None:
    held = asyncio.run(_swept_to_rest(swept))
    assert len(held.grants) == granted
    assert set(swept.world.executor.started) == {(ask.task_id, ask.attempt) for ask in held.running()}


@settings(deadline=None, max_examples=60)
@given(ORDERS)
def test_of_three_that_sweep_at_once_none_grants_more_than_there_is(order: list[int]) -> None:
    tasks = [submitted(f"t-{number}", "ab"[number % 2], number) for number in range(5)]
    swept = _waiting(*tasks, platform=Limits(running_tasks=3), running_tasks=2, gpu_hours_a_day=2)
    interleave(*(_sweeper(swept).sweep() for _ in range(3)), order=order)
    assert len(asyncio.run(grants(swept.world)).grants) <= 3
    _never_over(swept, 3)
    assert sorted(started(swept.world)) == ["t-0", "t-1", "t-2"]


def test_of_two_that_see_different_queues_the_second_grants_nothing_that_the_first_has_taken() -> None:
    async def earlier_comes_and_another_sweeps(swept: Swept) -> None:
        await swept.world.deliver("training-dispatch", submitted("earlier", "b", -5))
        await _sweeper(swept).sweep()

    def begin() -> Swept:
        return _waiting(submitted("t-1", "a"), platform=Limits(running_tasks=1))

    granted = set()
    for order in preempted(steps_of(_sweeper(begin()).sweep())):
        swept = begin()
        interleave(_sweeper(swept).sweep(), earlier_comes_and_another_sweeps(swept), order=order)
        held = asyncio.run(grants(swept.world)).grants
        assert len(held) == 1
        granted |= set(held)
    assert granted == {"t-1", "earlier"}


def test_whichever_of_a_dispatch_and_a_stop_is_interrupted_no_place_is_left_behind() -> None:
    def dispatch(swept: Swept) -> Any:
        return swept.world.deliver("training-dispatch", submitted("t-1"))

    def stop(swept: Swept) -> Any:
        return swept.world.deliver("task-command", command_event("stop"))

    for first, second in ((dispatch, stop), (stop, dispatch)):
        for order in preempted(steps_of(first(_waiting(running_tasks=0)))):
            swept = _waiting(running_tasks=0)
            interleave(first(swept), second(swept), order=order)
            assert swept.world.keys("admission/") == []


@settings(deadline=None, max_examples=100)
@given(ORDERS)
def test_a_stop_that_crosses_two_sweeps_leaves_no_job_no_place_and_no_grant(order: list[int]) -> None:
    swept = _waiting(submitted("t-1"), running_tasks=1)
    stop = swept.world.deliver("task-command", command_event("stop"))
    interleave(_sweeper(swept).sweep(), _sweeper(swept).sweep(), stop, order=order)
    _never_over(swept, 0)
    assert asyncio.run(swept.state()).phase is Phase.TERMINATED
    assert (swept.world.keys("admission/"), swept.world.keys("active/")) == ([], [])


@settings(deadline=None, max_examples=100)
@given(ORDERS)
def test_a_dispatch_that_crosses_a_stop_and_a_sweep_leaves_no_job_no_place_and_no_grant(order: list[int]) -> None:
    swept = _waiting(running_tasks=1)
    dispatch = swept.world.deliver("training-dispatch", submitted("t-1"))
    stop = swept.world.deliver("task-command", command_event("stop"))
    interleave(dispatch, stop, _sweeper(swept).sweep(), order=order)
    _never_over(swept, 0)
    assert asyncio.run(swept.state()).phase is Phase.TERMINATED
    assert swept.world.keys("admission/") == []


@settings(deadline=None, max_examples=60)
@given(ORDERS)
def test_a_dispatch_that_crosses_two_sweeps_is_one_job(order: list[int]) -> None:
    swept = _waiting(running_tasks=1)
    dispatch = swept.world.deliver("training-dispatch", submitted("t-1"))
    interleave(dispatch, _sweeper(swept).sweep(), _sweeper(swept).sweep(), order=order)
    _never_over(swept, 1)
    assert swept.world.executor.started == [("t-1", 1)]
    assert swept.world.keys("admission/") == []


# --- killed at every call ------------------------------------------------------------------------------------


async def _queued(**limits: Any) -> tuple[Swept, Faults]:
    """Return a world with a quota where t-1 runs and t-2 waits."""
    world, faults = faulty_world()
    swept = limited(world, **limits)
    gpus(world, 1)
    await submits(world, submitted("t-1"), submitted("t-2", minutes=1))
    await swept.sweep()
    assert started(world) == ["t-1"]
    return swept, faults


async def _killed(reconciler: Reconciler) -> None:
    # The sweep logs what one part of it raises; here it stands for the whole process.
    with suppress(Crash):
        await reconciler.sweep()


@KILLED
async def test_killed_at_any_call_of_a_sweep_that_lets_one_out_the_next_one_finishes_it(*, after: bool) -> None:
    async def begin() -> tuple[Swept, Faults]:
        swept, faults = await _queued(running_tasks=1, spend_a_day=Decimal("0.0036"))
        swept.world.executor.end("t-1", 1, 0)
        await swept.world.progress("succeeded", 9, outputs=[])
        return swept, faults

    swept, faults = await begin()
    already = len(faults.calls)
    await swept.sweep()
    for at in range(len(faults.calls) - already):
        swept, faults = await begin()
        faults.crash_at, faults.after = len(faults.calls) + at, after
        await _killed(swept.reconciler)
        faults.crash_at = None
        swept.reconciler = swept.another()
        await swept.sweep()
        await swept.sweep()
        assert started(swept.world) == ["t-1", "t-2"], faults.calls[already + at]
        assert swept.world.keys("admission/") == []
        held = await grants(swept.world)
        assert set(held.grants) == {"t-2"}
        assert held.used("default").spend == Decimal("0.0036")
        assert held.used("default").gpu_seconds == 3600, "the first one took nothing, the second is promised an hour"


@KILLED
async def test_killed_at_any_call_of_a_dispatch_the_task_is_in_the_queue_once(*, after: bool) -> None:
    async def begin() -> tuple[World, Faults, Any]:
        world, faults = faulty_world()
        limited(world, running_tasks=1)
        await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))
        return world, faults, submitted("t-1")

    world, faults, submission = await begin()
    already = len(faults.calls)
    baseline = await world.deliver("training-dispatch", submission)
    for at in range(len(faults.calls) - already):
        world, faults, submission = await begin()
        deliver = partial(world.deliver, "training-dispatch", submission)
        outcome = await survives(faults, at, after=after, deliver=deliver)
        assert ids(outcome.events) == ids(baseline.events)
        assert world.executor.submits == []
        swept = Swept(world)
        await swept.sweep()
        assert world.executor.started == [("t-1", 1)], faults.calls[already + at]
        assert world.keys("admission/") == []
        assert set((await grants(world)).grants) == {"t-1"}


@KILLED
async def test_killed_at_any_call_of_a_stop_it_is_out_of_the_queue(*, after: bool) -> None:
    swept, faults = await _queued(running_tasks=1)
    already = len(faults.calls)
    await swept.world.deliver("task-command", command_event("stop", "t-2"))
    for at in range(len(faults.calls) - already):
        swept, faults = await _queued(running_tasks=1)
        stop = partial(swept.world.deliver, "task-command", command_event("stop", "t-2"))
        outcome = await survives(faults, at, after=after, deliver=stop)
        assert received(outcome.events[-1]).data.phase is Phase.TERMINATING
        await swept.sweep(after=PATIENCE)
        assert (await swept.world.state("t-2")).phase is Phase.TERMINATED, faults.calls[already + at]
        assert swept.world.keys("admission/") == []
