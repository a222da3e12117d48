"""``worker explain DATASET``: how a dataset was judged, why it was rejected, and where its report is."""

from pathlib import Path

import msgspec

from contracts.datasets.findings import Finding
from handlers import layout
from tests.fakes.explained import explained
from tests.fakes.world import World, form_event

WRONG = Finding(
    line=2, pointer="/messages/0/role", code="unknown-role", severity="error", message="'usr' is not a role",
    hint="did you mean 'user'?",
)  # fmt: skip
NOTE = Finding(line=3, pointer="", code="blank-line", severity="note", message="the line is blank")


async def _rejected() -> World:
    world = World()
    world.scanner.invalid, world.scanner.totals = 1, {"unknown-role": 1, "blank-line": 1}
    world.scanner.findings = (WRONG, NOTE)
    await world.run(await world.import_dataset("d-1", b"{}\n"))
    return world


async def test_why_a_dataset_whose_file_is_not_there_was_rejected_is_told(tmp_path: Path) -> None:
    world = World()
    await world.run(await world.import_dataset("gone"))
    lines = (await explained(world, tmp_path, "gone")).splitlines()
    uri = world.store.uri("uploads/gone.jsonl")
    assert lines[:2] == [
        "dataset gone: rejected, not read",
        f"  cannot be read: {uri}: no such file; upload it again, then import the dataset again",
    ]
    assert "dataset-validation" in lines[2]
    assert "rejected" in lines[2]
    told = msgspec.json.decode(await explained(world, tmp_path / "json", "gone", "--json"))
    assert (told["dataset_id"], told["verdict"], told["report_uri"]) == ("gone", "rejected", None)
    assert f"  {told['objection']}" == lines[1]


async def test_the_errors_of_a_report_are_told_with_their_place_and_where_all_findings_are(tmp_path: Path) -> None:
    world = await _rejected()
    lines = (await explained(world, tmp_path, "d-1")).splitlines()
    (report,) = [key for key in world.keys("datasets/d-1/") if layout.is_dataset_report(key)]
    place = (tmp_path / report).as_uri()
    assert lines[0] == "dataset d-1: rejected, 2 of 3 samples are valid"
    assert lines[2:5] == [
        "  d-1.jsonl:2 /messages/0/role unknown-role 'usr' is not a role; did you mean 'user'?",
        f"  every finding: {place.replace('report.json', 'findings.ndjson')}",
        f"  its report: {place}",
    ]


async def test_a_valid_dataset_is_told_without_an_objection(tmp_path: Path) -> None:
    world = World()
    await world.run(await world.import_dataset("d-1", b"{}\n"))
    lines = (await explained(world, tmp_path, "d-1")).splitlines()
    assert lines[0] == "dataset d-1: validated, 3 of 3 samples are valid"
    assert lines[1].startswith("  its report: ")


async def test_a_task_that_failed_for_its_dataset_says_what_tells_why(tmp_path: Path) -> None:
    world = await _rejected()
    await world.run(form_event("t-1", "d-1"))
    told = await explained(world, tmp_path, "t-1")
    assert told.startswith("task t-1: Failed\n")
    assert "\n  dataset d-1: rejected, 2 of 3 samples are valid; worker explain d-1 tells why\n" in told


async def test_where_a_task_and_a_dataset_have_one_id_the_task_is_told_of(tmp_path: Path) -> None:
    world = World()
    await world.run(await world.import_dataset("same", b"{}\n"), form_event("same", "same"))
    assert (await explained(world, tmp_path, "same")).startswith("task same: ")
