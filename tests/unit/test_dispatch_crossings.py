"""Dispatch against the world: interrupted at every await, and killed at every call. Trained once, lost never."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.envelope import Event
from contracts.task import Phase
from handlers import layout
from handlers.planning.plan import Plan
from handlers.ports.catalog import PresetDataset
from handlers.quotes import KeptQuote
from tests.fakes.faults import Crash, Faults, faulty_world, survives
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.world import World, bodies, command_event, form_event, ids, received

Actor = Callable[[World], Coroutine[Any, Any, list[Event[Any]]]]
ORDERS = st.lists(st.integers(0, 2), max_size=80)


async def _submits(world: World) -> list[Event[Any]]:
    return list((await world.deliver("training-dispatch", form_event("t-1", "d-1", "d-2"))).events)


def _imports(dataset_id: str) -> Actor:
    async def validated_and_woken(world: World) -> list[Event[Any]]:
        imported = await world.import_dataset(dataset_id, b"{}\n")
        (verdict,) = (await world.deliver("dataset-validation", imported)).events
        return list((await world.deliver("training-dispatch", received(verdict))).events)

    return validated_and_woken


async def _stops(world: World) -> list[Event[Any]]:
    return list((await world.deliver("task-command", command_event("stop"))).events)


def _with_the_other_dataset() -> World:
    world = World()
    steps_of(_imports("d-2")(world))
    return world


async def _dispatched_once(world: World, said: list[Event[Any]]) -> None:
    state = await world.state("t-1")
    assert (state.phase, state.attempt) == (Phase.QUEUED, 1)
    assert [(spec.task_id, spec.attempt) for spec in world.submitted] == [("t-1", 1)]
    assert world.executor.started == [("t-1", 1)]
    assert world.executor.cancels == []
    assert world.keys("receipts/training-dispatch/") == ["receipts/training-dispatch/-/t-1.json"]
    assert len({each.id for each in said if each.topic == "training.dispatched"}) == 1
    assert world.keys("active/") == [layout.active("t-1")]


@pytest.mark.parametrize("actors", [(_submits, _imports("d-1")), (_imports("d-1"), _submits)], ids=["form", "dataset"])
async def test_whichever_of_two_is_interrupted_wherever_it_is_dispatched_once(
    actors: tuple[Actor, Actor],
) -> None:
    first, second = actors
    for order in preempted(steps_of(first(_with_the_other_dataset()))):
        world = _with_the_other_dataset()
        said = interleave(first(world), second(world), order=order)
        await _dispatched_once(world, said[0] + said[1])


@settings(max_examples=150)
@given(ORDERS)
def test_form_and_both_datasets_in_any_interleaving_dispatch_once(order: list[int]) -> None:
    world = World()
    said = interleave(_submits(world), _imports("d-1")(world), _imports("d-2")(world), order=order)
    steps_of(_dispatched_once(world, [event for each in said for event in each]))


@settings(max_examples=100)
@given(ORDERS)
def test_the_same_form_delivered_to_three_workers_at_once_is_one_job(order: list[int]) -> None:
    world = _with_the_other_dataset()
    steps_of(_imports("d-1")(world))
    said = interleave(*(_submits(world) for _ in range(3)), order=order)
    steps_of(_dispatched_once(world, [event for each in said for event in each]))
    assert len({tuple(ids(each)) for each in said}) == 1


@settings(max_examples=100)
@given(ORDERS)
def test_of_two_forms_that_race_for_one_id_one_wins_and_the_other_is_answered(order: list[int]) -> None:
    async def submits(name: str) -> list[Event[Any]]:
        submitted = form_event("t-1", "d-1", "d-2", name=name)
        return list((await world.deliver("training-dispatch", submitted)).events)

    world = _with_the_other_dataset()
    steps_of(_imports("d-1")(world))
    said = interleave(submits("one"), submits("two"), order=[turn % 2 for turn in order])
    reasons = [{each.data.reason for each in map(received, events) if each.topic == "task.status"} for events in said]
    assert ["conflict" in found for found in reasons].count(True) == 1
    assert world.executor.started == [("t-1", 1)]


def _never_runs_on(world: World) -> None:
    state = _now(world)
    assert state.desired == "stop"
    assert state.phase in {Phase.TERMINATING, Phase.TERMINATED}
    if state.phase is Phase.TERMINATING:
        assert world.executor.cancels
    job = _status(world)
    assert job.state != "running", "a stopped task's job runs on"


def _now(world: World) -> Any:
    found: list[Any] = []

    async def look() -> None:
        found.append(await world.state("t-1"))

    steps_of(look())
    return found[0]


def _status(world: World) -> Any:
    found: list[Any] = []

    async def look() -> None:
        found.append(await world.executor.status("t-1", 1))

    steps_of(look())
    return found[0]


@pytest.mark.parametrize("stop_first", [False, True])
def test_a_stop_that_crosses_the_dispatch_leaves_no_job_behind(*, stop_first: bool) -> None:
    def ready() -> World:
        world = _with_the_other_dataset()
        steps_of(_imports("d-1")(world))
        return world

    actors: tuple[Actor, Actor] = (_stops, _submits) if stop_first else (_submits, _stops)
    for order in preempted(steps_of(actors[0](ready()))):
        world = ready()
        interleave(actors[0](world), actors[1](world), order=order)
        _never_runs_on(world)


@settings(max_examples=150)
@given(ORDERS)
def test_stop_form_and_dataset_in_any_interleaving_leave_no_job_behind(order: list[int]) -> None:
    world = _with_the_other_dataset()
    interleave(_stops(world), _submits(world), _imports("d-1")(world), order=order)
    _never_runs_on(world)


# --- killed at every call ------------------------------------------------------------------------------------

KILLED = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


async def _judged(*, valid: bool = True) -> tuple[World, Faults, Event[Any]]:
    """Return a world where the task's dataset is judged, and the event of the form that is still to be delivered."""
    world, faults = faulty_world()
    world.scanner.invalid = int(not valid)
    await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))
    return world, faults, form_event("t-1", "d-1")


async def _waiting() -> tuple[World, Faults, Event[Any]]:
    """Return a world where a task waits, and the event of the verdict it waits for."""
    world, faults = faulty_world()
    await world.deliver("training-dispatch", form_event("t-1", "d-1"))
    (verdict,) = (await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))).events
    return world, faults, received(verdict)


@KILLED
@pytest.mark.parametrize("begin", [_judged, _waiting], ids=["form", "verdict"])
async def test_killed_at_any_call_what_is_redelivered_is_dispatched_once(begin: Any, *, after: bool) -> None:
    world, faults, event = await begin()
    already = len(faults.calls)
    baseline = await world.deliver("training-dispatch", event)
    for at in range(len(faults.calls) - already + 1):
        world, faults, event = await begin()
        deliver = partial(world.deliver, "training-dispatch", event)
        outcome = await survives(faults, at, after=after, deliver=deliver)
        await _dispatched_once(world, list(outcome.events))
        assert ids(outcome.events) == ids(baseline.events), faults.calls[already + at]
        assert world.keys("waiting/") == []


@KILLED
async def test_killed_while_refusing_it_is_refused_once(*, after: bool) -> None:
    world, faults, submitted = await _judged(valid=False)
    baseline = await world.deliver("training-dispatch", submitted)
    for at in range(len(faults.calls)):
        world, faults, submitted = await _judged(valid=False)
        deliver = partial(world.deliver, "training-dispatch", submitted)
        outcome = await survives(faults, at, after=after, deliver=deliver)
        assert ids(outcome.events) == ids(baseline.events)
        assert (await world.state("t-1")).phase is Phase.FAILED
        assert world.executor.submits == []
        assert world.keys("receipts/training-dispatch/") == ["receipts/training-dispatch/-/t-1.json"]
        assert world.keys("waiting/") == []


async def test_a_task_that_was_stopped_before_its_form_came_is_decided_when_it_comes() -> None:
    world = World()
    await world.deliver("task-command", command_event("stop"))
    outcome = await world.deliver("training-dispatch", form_event("t-1", "d-1"))
    assert outcome.name == "ended"
    assert world.keys("receipts/training-dispatch/") == ["receipts/training-dispatch/-/t-1.json"]
    assert world.keys("waiting/") == []
    assert world.executor.submits == []


async def test_a_job_that_is_already_under_way_when_its_dispatch_is_redelivered_is_the_same_job() -> None:
    world, _, submitted = await _judged()
    first = await world.deliver("training-dispatch", submitted)
    (receipt,) = world.keys("receipts/training-dispatch/")
    del world.store.objects[receipt]  # The crash: submitted, but not recorded.
    checkpoint = {"step": 5, "uri": world.store.uri("tasks/t-1/attempts/1/checkpoints/5")}
    await world.progress("running", 3, checkpoint=checkpoint)
    again = await world.deliver("training-dispatch", submitted)
    assert len(world.submitted) == 1
    assert (await world.state("t-1")).phase is Phase.RUNNING
    assert ids(again.events)[0] == ids(first.events)[0]


@KILLED
async def test_killed_at_any_call_it_is_billed_by_the_quote_of_what_is_trained(*, after: bool) -> None:
    """The price changes, and other data come under the same name, between the crash and the next try."""
    world, faults, submitted = await _judged()
    already = len(faults.calls)
    await world.deliver("training-dispatch", submitted)
    for at in range(len(faults.calls) - already):
        world, faults, submitted = await _judged()
        faults.crash_at, faults.after = len(faults.calls) + at, after
        with suppress(Crash):
            await world.deliver("training-dispatch", submitted)
        faults.crash_at = None
        world.catalog.prices["LoRA"] = "7.00"
        world.tokens.samples = 500
        await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n{}\n"))
        await world.deliver("training-dispatch", submitted)
        plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
        state = await world.state("t-1")
        assert state.quoted == plan.quoted
        assert state.quoted
        quote = msgspec.json.decode(world.store.objects[layout.quote(state.quoted.quote_id)], type=KeptQuote)
        assert [item.samples for item in quote.quote.items] == [each.samples for each in plan.training]
        assert world.executor.started == [("t-1", 1)]


async def test_what_was_dispatched_is_said_whatever_has_become_of_the_catalogue() -> None:
    world, _, _ = await _judged()
    world.catalog.preset_datasets = [PresetDataset(dataset_id="p-1", version="1")]
    await world.deliver("dataset-validation", await world.import_dataset("p-1", b"{}\n"))
    submitted = form_event("t-1", "d-1", preset_mix={"percent": 10})
    first = await world.deliver("training-dispatch", submitted)
    assert first.name == "dispatched"
    (receipt,) = world.keys("receipts/training-dispatch/")
    del world.store.objects[receipt]  # The crash: submitted, but not recorded.
    world.catalog.preset_datasets = [PresetDataset(dataset_id="p-2", version="1")]  # nobody has imported it yet
    again = await world.deliver("training-dispatch", submitted)
    assert ids(again.events) == ids(first.events)


async def test_a_verdict_says_again_years_later_what_it_led_to() -> None:
    world, _, verdict = await _waiting()
    first = await world.deliver("training-dispatch", verdict)
    again = await world.deliver("training-dispatch", verdict)
    assert bodies(again.events) == bodies(first.events)
    assert len(world.executor.submits) == 1


async def test_the_crash_these_tests_inject_escapes_the_handler() -> None:
    world, faults, submitted = await _judged()
    faults.crash_at = len(faults.calls)
    with pytest.raises(Crash):
        await world.deliver("training-dispatch", submitted)
