"""Dispatch: a task is decided once, refused with everything that is wrong, and trained once."""

from itertools import permutations

import msgspec
import pytest
from msgspec.structs import replace

from contracts.task import Phase
from handlers import layout
from handlers.planning.plan import Plan
from handlers.ports.executors import Choice
from handlers.ports.jobs import Resources
from tests.fakes.dispatch import imported, refusal
from tests.fakes.events import event
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.world import World, bodies, command_event, form, form_event, ids, received, statuses

# --- the join ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(["d-1", "d-2", "form"])))
async def test_in_any_order_the_last_to_come_dispatches(order: tuple[str, ...]) -> None:
    world = World()
    said = []
    for name in order:
        assert world.executor.submits == []
        (current,) = [form_event("t-1", "d-1", "d-2")] if name == "form" else await imported(world, name)
        said = list((await world.deliver("training-dispatch", current)).events)
    assert [each.topic for each in said] == ["training.dispatched", "task.status"]
    assert [spec.attempt for spec in world.executor.submits] == [1]
    assert world.keys("waiting/") == []
    assert world.keys("active/") == [layout.active("t-1")]


async def test_one_dataset_wakes_every_task_that_waits_for_it_and_no_other() -> None:
    world = World()
    await world.run(form_event("t-1", "d-1"), form_event("t-2", "d-1"), form_event("t-3", "d-1", "d-2"))
    await world.run(form_event("t-4", "d-2"))
    assert world.executor.submits == []
    await world.run(*await imported(world, "d-1"), skip=["cost-estimation"])
    assert sorted(spec.task_id for spec in world.executor.submits) == ["t-1", "t-2"]
    assert world.keys("waiting/") == ["waiting/d-1/t-3", "waiting/d-2/t-3", "waiting/d-2/t-4"]
    await world.run(*await imported(world, "d-2"), skip=["cost-estimation"])
    assert sorted(spec.task_id for spec in world.executor.submits) == ["t-1", "t-2", "t-3", "t-4"]
    assert world.keys("waiting/") == []


async def test_a_task_whose_engine_is_down_holds_up_no_other_that_waits_for_the_same_dataset() -> None:
    world = World()
    down, up = FakeExecutor("down"), FakeExecutor("up")
    down.available = False
    world.ports["executors"] = executors = FakeExecutors(down, up)
    await world.run(form_event("t-1", "d-1"), form_event("t-2", "d-1", project="other"))
    executors.by_project = {"other": Choice("up", Resources())}
    (verdict,) = await imported(world, "d-1")
    said = (await world.deliver("training-dispatch", verdict)).events
    assert {each.key for each in said if each.topic == "training.dispatched"} == {"t-1", "t-2"}
    assert [spec.task_id for spec in up.submits] == ["t-2"]
    assert world.keys("active/") == sorted([layout.active("t-1"), layout.active("t-2")]), "for the reconciler to submit"


async def test_one_task_s_bug_keeps_no_other_from_being_decided() -> None:
    world = World()
    await world.run(form_event("t-1", "d-1"), form_event("t-2", "d-1"))
    world.store.objects[layout.task("t-1", "state")] = b"not JSON"
    (verdict,) = await imported(world, "d-1")
    with pytest.raises(msgspec.DecodeError):
        await world.deliver("training-dispatch", verdict)
    assert [spec.task_id for spec in world.executor.submits] == ["t-2"]


async def test_duplicates_of_everything_train_once_and_say_the_same_events() -> None:
    world = World()
    (verdict,) = await imported(world, "d-1")
    submitted = form_event()
    first = await world.deliver("training-dispatch", submitted)
    for again in (submitted, verdict, submitted, verdict, verdict):
        outcome = await world.deliver("training-dispatch", again)
        if again is submitted:
            assert bodies(outcome.events) == bodies(first.events)
        assert set(ids(outcome.events)) <= set(ids(first.events))
    assert len(world.executor.submits) == 1
    assert world.keys("receipts/training-dispatch/") == ["receipts/training-dispatch/-/t-1.json"]


async def test_a_replay_years_later_trains_nothing_whatever_became_of_the_task() -> None:
    world = World()
    await world.dispatched()
    output = await world.leave_output()
    said = await world.progress("succeeded", outputs=[output])
    await world.run(*(received(each) for each in said.events))
    await world.run(command_event("delete"))
    world.catalog.entries.clear()
    await world.clock.advance(4 * 365 * 86_400)
    replayed = await world.run(form_event())
    assert len(world.executor.submits) == 1
    assert statuses(replayed)[-1].reason == "deleted"


# --- conflicts and faults ------------------------------------------------------------------------------------


async def test_another_form_under_the_same_id_is_answered_and_changes_nothing() -> None:
    world = World()
    state = await world.dispatched()
    other = form_event(name="other-poems")
    answer = await world.deliver("training-dispatch", other)
    conflict, now = statuses(answer.events)
    assert (conflict.reason, conflict.party, conflict.phase) == ("conflict", "user", Phase.QUEUED)
    assert [fault.code for fault in conflict.faults] == ["conflict"]
    assert (now.revision, now.reason) == (state.revision, "dispatched")
    assert await world.state("t-1") == state
    again = await world.deliver("training-dispatch", other)
    assert bodies(again.events) == bodies(answer.events)
    assert len(world.executor.submits) == 1


async def test_what_a_compacted_topic_keeps_after_a_replayed_conflict_is_where_the_task_is_now() -> None:
    world = World()
    await world.dispatched()
    other = form_event(name="other-poems")
    first = await world.deliver("training-dispatch", other)
    await world.progress("running", 0)
    replayed = await world.deliver("training-dispatch", other)
    assert replayed.events[0] == first.events[0]
    assert statuses(replayed.events)[-1].phase is Phase.RUNNING


@pytest.mark.parametrize("pair", [("t", "t.json"), ("t.json", "t"), ("conflict", "conflict.json"), ("..", ".")])
async def test_no_object_of_one_task_is_below_one_of_another_s(pair: tuple[str, str]) -> None:
    world = World()
    await imported(world, "d-1")
    for task_id in pair:
        await world.run(form_event(task_id, "d-1"), form_event(task_id, "d-1", name="another"))
        await world.run(command_event("stop", task_id), command_event("delete", task_id))
    keys = sorted(world.store.objects)
    assert [key for key in keys if any(other.startswith(key + "/") for other in keys)] == []


async def test_the_same_form_in_another_order_of_names_is_no_conflict() -> None:
    world = World()
    await world.dispatched()
    outcome = await world.deliver("training-dispatch", event("task.created", dict(reversed(form().items()))))
    assert outcome.name == "dispatched"


async def test_every_fault_of_a_form_is_in_onerefusal() -> None:
    world = World()
    submitted = form_event(
        name="no spaces allowed",
        output_count=11,
        hyperparameters={"epoch": 3, "epochs": 99},
        tolerance={"max_invalid_ratio": 2},
        base_model={"foundation": {"name": "tiny", "version": "7"}},
        validation={"percent": 80},
    )
    status = await refusal(world, submitted)
    fields = {fault.field for fault in status.faults}
    expected = {"name", "output_count", "tolerance.max_invalid_ratio", "base_model.foundation", "validation.percent"}
    assert expected <= fields
    assert (status.reason, status.party) == ("invalid-form", "user")
    assert str(len(status.faults)) in status.message
    assert len(statuses(await world.run(submitted))) == 1


async def test_an_unknown_hyperparameter_is_refused_with_the_nearest_known_one() -> None:
    status = await refusal(World(), form_event(hyperparameters={"epoch": 3, "epochs": 99}))
    assert [fault.field for fault in status.faults] == ["hyperparameters.epoch", "hyperparameters.epochs"]
    assert "'epochs'" in status.faults[0].message


async def test_a_refusal_is_for_good_and_is_said_again_under_the_same_id() -> None:
    world = World()
    submitted = form_event(base_model={"foundation": {"name": "later", "version": "1"}})
    first = await world.run(submitted)
    world.catalog.entries.append(replace(world.catalog.entries[0], name="later"))
    await imported(world, "d-1")
    again = await world.run(submitted)
    assert ids(again) == ids(first)
    assert world.executor.submits == []


async def test_a_type_that_is_not_published_is_refused() -> None:
    world = World()
    world.catalog.unpublished.add("FinetuneLoRA")
    assert [fault.code for fault in (await refusal(world, form_event())).faults] == ["not-published"]


async def test_a_task_whose_model_is_withdrawn_while_it_waits_is_refused_and_not_left_waiting() -> None:
    world = World()
    await world.run(form_event())
    world.catalog.entries.clear()
    (verdict,) = await imported(world, "d-1")
    said = await world.deliver("training-dispatch", verdict)
    (status,) = statuses(said.events)
    assert (status.phase, status.reason) == (Phase.FAILED, "invalid-form")
    assert world.keys("waiting/") == []
    assert bodies(await world.run(form_event()))[-1:] == bodies(said.events)


async def test_a_form_without_hyperparameters_is_planned_with_every_default() -> None:
    world = World()
    await world.dispatched()
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    assert plan.hyperparameters == {"epochs": 2}
