"""Every event says whose it is about: in the form or the import, in what follows from it, and where it is refused."""

from typing import Any

import msgspec
import pytest

from contracts.topics import TOPICS
from handlers.table import SAID_BY_SWEEPS, STAGES
from tests.fakes.world import World, command_event, form, form_event, received, statuses

SAID = sorted({topic for stage in STAGES for topic in stage.says} | {*SAID_BY_SWEEPS, "training.progress"})


@pytest.mark.parametrize("topic", SAID)
def test_the_contract_of_whatever_is_said_has_a_project(topic: str) -> None:
    assert "project" in {field.name for field in msgspec.structs.fields(TOPICS[topic].contract)}


def _projects(said: list[Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in said:
        found.setdefault(each.topic, set()).add(received(each).data.project)
    return found


async def test_from_the_import_to_the_exported_model_every_event_is_of_its_project() -> None:
    world = World()
    imported = await world.import_dataset("d-1", b"{}\n", project="research", draft=form())
    said = await world.run(imported, form_event("t-1", "d-1", project="research"))
    output = await world.leave_output()
    outcome = await world.progress("succeeded", 1, outputs=[output])
    said += [*outcome.events, *await world.run(*map(received, outcome.events))]
    said += await world.run(command_event("export"))
    assert _projects(said) == {
        topic: {"research"}
        for topic in ("dataset.validated", "cost.estimated", "training.dispatched", "task.status", "model.exported")
    }
    assert world.submitted[0].project == "research"


async def test_a_rejected_dataset_is_of_its_project() -> None:
    world = World()
    said = await world.run(await world.import_dataset("d-1", None, project="research"))
    assert _projects(said) == {"dataset.rejected": {"research"}}


async def test_a_form_with_faults_is_refused_to_its_project() -> None:
    said = await World().run(form_event("t-1", "d-1", project="research", name=""))
    assert _projects(said) == {"task.status": {"research"}}


async def test_a_form_whose_project_is_the_fault_is_refused_to_the_default_one() -> None:
    said = await World().run(form_event("t-1", "d-1", project="../research"))
    assert _projects(said) == {"task.status": {"default"}}
    assert [fault.field for fault in statuses(said)[0].faults] == ["project"]


async def test_a_second_form_is_answered_to_the_project_of_the_first() -> None:
    world = World()
    said = await world.run(form_event("t-1", "d-1", project="research"), form_event("t-1", "d-1", project="other"))
    assert _projects(said) == {"task.status": {"research"}}


@pytest.mark.parametrize("changes", [{}, {"name": ""}], ids=["good form", "form with faults"])
async def test_a_task_that_was_stopped_before_its_form_came_gets_the_project_of_the_form(changes: Any) -> None:
    world = World()
    await world.run(command_event("stop"))
    assert (await world.state("t-1")).project == "default"
    said = await world.run(form_event("t-1", "d-1", project="research", **changes))
    assert _projects(said) == {"task.status": {"research"}}
    revision = (await world.state("t-1")).revision
    await world.run(form_event("t-1", "d-1", project="research", **changes))
    assert (await world.state("t-1")).revision == revision
