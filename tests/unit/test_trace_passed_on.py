"""A task's place in a trace: from the events that made it to its jobs, and to all that is said without an event."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.envelope import Event
from handlers import layout
from handlers.ports.jobs import JobSpec, JobStatus
from tests.fakes.swept import PATIENCE, running
from tests.fakes.world import World, form, form_event, received
from worker.executors.remote import spec_digest, trainer_environment
from worker.settings import Settings

SUBMITTED = "00-0af7651916cd43dd8448eb211c80319c-1111111111111111-01"
IMPORTED = "00-0af7651916cd43dd8448eb211c80319c-2222222222222222-01"
VERDICT = "00-0af7651916cd43dd8448eb211c80319c-3333333333333333-01"
SPEC = JobSpec(job_id="t", task_id="t", attempt=1, plan_key="p", attempt_prefix="a/")


async def _verdict(world: World, **changes: Any) -> Event[Any]:
    imported = replace(await world.import_dataset("d-1", b"{}\n", **changes), traceparent=IMPORTED)
    (said,) = (await world.deliver("dataset-validation", imported)).events
    return replace(received(said), traceparent=VERDICT)


async def test_a_job_is_begun_in_the_trace_of_what_dispatched_it_which_links_to_its_submission() -> None:
    world = World()
    await world.deliver("training-dispatch", replace(form_event(), traceparent=SUBMITTED))
    outcome = await world.deliver("training-dispatch", await _verdict(world))
    assert [spec.traceparent for spec in world.executor.submits] == [VERDICT]
    assert outcome.links == (SUBMITTED,)
    again = await world.deliver("training-dispatch", replace(form_event(), traceparent=IMPORTED))
    assert [said.traceparent for said in again.events if said.topic == "training.dispatched"] == [VERDICT]
    assert {spec.traceparent for spec in world.executor.submits} == {VERDICT}


async def test_a_submission_that_dispatches_at_once_links_to_nothing() -> None:
    world = World()
    await _verdict(world)
    outcome = await world.deliver("training-dispatch", replace(form_event(), traceparent=SUBMITTED))
    assert [spec.traceparent for spec in world.executor.submits] == [SUBMITTED]
    assert outcome.links == ()


async def test_another_attempt_and_what_is_said_of_it_stay_in_the_trace() -> None:
    swept = await running()
    world = swept.world
    state = await world.state("t-1")
    world.store.objects[layout.task("t-1", "state")] = msgspec.json.encode(replace(state, traceparent=VERDICT))
    world.executor.set_state("t-1", 1, JobStatus(state="ended", exit_code=1))
    await swept.sweep()
    said = await swept.sweep(after=PATIENCE + 1)
    assert world.executor.submits[-1].attempt == 2
    assert world.executor.submits[-1].traceparent == VERDICT
    assert {each.topic for each in said} == {"task.status", "training.dispatched"}
    assert {each.traceparent for each in said} == {VERDICT}


async def test_a_fee_links_to_the_import_that_it_is_of() -> None:
    world = World()
    outcome = await world.deliver("cost-estimation", await _verdict(world, draft=form()))
    assert [said.topic for said in outcome.events] == ["cost.estimated"]
    assert outcome.links == (IMPORTED,)


async def test_the_same_import_in_another_trace_has_the_same_fee() -> None:
    world = World()
    (first,) = (await world.deliver("cost-estimation", await _verdict(world, draft=form()))).events
    verdict = replace(await _verdict(world, draft=form()), traceparent=SUBMITTED)
    (again,) = (await world.deliver("cost-estimation", verdict)).events
    assert again == first


@pytest.mark.parametrize("traceparent", [None, VERDICT])
def test_a_job_s_trace_is_in_its_environment_where_it_has_one(traceparent: str | None) -> None:
    told = trainer_environment(Settings(), replace(SPEC, traceparent=traceparent))
    assert told.get("TRACEPARENT") == traceparent


def test_a_release_that_knows_no_traces_submits_the_same_job() -> None:
    assert spec_digest(replace(SPEC, traceparent=VERDICT)) == spec_digest(SPEC)
