"""``worker explain``: what a task stands on, what it waits for, and why its fee is not known."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tests.fakes.dispatch import imported
from tests.fakes.explained import explained
from tests.fakes.quotas import limited, submits, submitted
from tests.fakes.world import World, command_event, form, form_event
from worker.cli import app
from worker.story import story_of

NOTES = {"blank-line": 2, "byte-order-mark": 1, "invalid-json": 1, "unknown-field": 4}


async def _draft_over_invalid_data(**changes: Any) -> World:
    world = World()
    world.scanner.invalid, world.scanner.totals = 1, NOTES
    await world.run(await world.import_dataset("d-1", b"{}\n", draft=form("t-1", "d-1", **changes)))
    return world


async def test_why_there_is_no_fee_is_told_with_the_verdict_on_the_dataset(tmp_path: Path) -> None:
    world = await _draft_over_invalid_data()
    lines = (await explained(world, tmp_path, "t-1")).splitlines()
    missing = "dataset d-1: 1 of 3 samples are invalid (invalid-json); mend or tolerate them; see its report"
    assert lines[:4] == [
        "task t-1: not created yet",
        "  dataset d-1: rejected, 2 of 3 samples are valid; worker explain d-1 tells why",
        "  the fee is not known; what is missing:",
        f"    {missing}",
    ]
    assert "dataset-validation" in lines[4]
    assert "rejected" in lines[4]
    told = msgspec.json.decode(await explained(world, tmp_path / "json", "t-1", "--json"))
    assert told["quote"]["missing"] == [missing]
    assert told["datasets"] == ["d-1"]
    (verdict,) = told["verdicts"]
    assert (verdict["verdict"], verdict["samples"], verdict["valid_samples"]) == ("rejected", 3, 2)
    assert f"dataset d-1: {verdict['objection']}" == missing


async def test_a_fee_that_is_known_and_what_the_form_tolerates_are_told(tmp_path: Path) -> None:
    world = await _draft_over_invalid_data(tolerance={"max_invalid_records": 1})
    lines = (await explained(world, tmp_path, "t-1")).splitlines()
    assert lines[1] == "  dataset d-1: rejected, 2 of 3 samples are valid, which the form tolerates"
    assert lines[2].startswith("  the fee: 0.0")
    assert lines[2].endswith(" CNY")


async def test_a_draft_without_data_of_its_own_is_about_the_import_that_carried_it() -> None:
    world = World()
    draft = form("t-1", training_set=None)
    await world.run(await world.import_dataset("d-9", b"{}\n", draft=draft))
    assert (await story_of(world.store, "t-1")).datasets == ("d-9",)


async def test_the_datasets_that_a_task_waits_for_are_named(tmp_path: Path) -> None:
    world = World()
    await imported(world, "d-1")
    await world.run(form_event("t-1", "d-1", "d-2", validation={"dataset_ids": ["d-3"]}))
    lines = (await explained(world, tmp_path, "t-1")).splitlines()
    lacking = "no report yet: it was not imported, or is still being checked"
    assert lines[2:6] == [
        "  waiting for the reports on its datasets",
        "  dataset d-1: validated, 3 samples",
        f"  dataset d-2: {lacking}",
        f"  dataset d-3: {lacking}",
    ]


async def test_what_a_task_stood_on_is_not_repeated_once_it_is_decided(tmp_path: Path) -> None:
    world = World()
    await world.dispatched()
    assert "  dataset d-1" not in await explained(world, tmp_path, "t-1")


async def test_an_attempt_that_waits_for_a_quota_is_not_said_to_be_handed_over(tmp_path: Path) -> None:
    swept = limited(running_tasks=1)
    await submits(swept.world, submitted("t-1"), submitted("t-2", minutes=1))
    await swept.sweep()
    waits = await explained(swept.world, tmp_path / "waits", "t-2")
    assert waits.startswith("task t-2: Queued, attempt 1 for local, not handed over yet\n")
    runs = await explained(swept.world, tmp_path / "runs", "t-1")
    assert runs.startswith("task t-1: Queued, attempt 1 on local\n")


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_the_refusal_of_a_form_with_faults_is_in_its_story(*, withdrawn: bool) -> None:
    world = World()
    if withdrawn:
        await world.run(form_event())
        world.catalog.entries.clear()
        await world.deliver("training-dispatch", *await imported(world, "d-1"))
    else:
        await world.run(form_event(output_count=11, hyperparameters={"epochs": 99}))
    refusals = [each for each in (await story_of(world.store, "t-1")).chapters if each.stage == "training-dispatch"]
    assert [(each.outcome, each.about) for each in refusals] == [("refused", "t-1")]


async def test_a_form_with_faults_of_a_task_that_was_stopped_before_is_not_recorded_as_refused() -> None:
    world = World()
    await world.run(command_event("stop"), form_event(output_count=11))
    assert world.keys("receipts/training-dispatch/") == []


def test_programs_read_that_nothing_is_known(tmp_path: Path) -> None:
    environment = {"WORKER_STORAGE_URL": tmp_path.as_uri()}
    result = CliRunner().invoke(app, ["explain", "nonsense", "--json"], env=environment)
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout)["error"].startswith("nothing is known of task nonsense")
    assert result.stderr.startswith("worker explain: nothing is known of task nonsense")
