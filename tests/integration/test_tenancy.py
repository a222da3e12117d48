"""Projects through a real broker: a task waits for its quota and then starts, and no planted secret comes out."""

from io import StringIO
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.codec import encode
from tests.integration.conftest import World
from tests.integration.test_flow import _finish as finish
from tests.platform import form
from tests.wait import wait_until

SECRETS = {"AWS_ACCESS_KEY_ID": "AKIApl4nt3d", "AWS_SECRET_ACCESS_KEY": "pl4nt3d/s3", "HF_TOKEN": "hf_pl4nt3d"}

FILE = """
every_project = { running_tasks = 1 }
[projects.research]
read = ["%s/uploads/"]
"""


async def test_a_task_waits_for_its_quota_and_then_starts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: StringIO
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "projects.toml"
    file.write_text(FILE % world.settings.storage_url)
    world = world._replace(settings=replace(world.settings, projects_file=file, queue_position_seconds=0.2))
    started = world.executor.started
    async with world.worker():
        await world.import_dataset("d1", project="research")
        await world.import_dataset("d2", project="other")
        assert (await world.platform.wait_for("dataset.rejected", "d2")).data.reason == "unreadable"
        await world.platform.publish("task.created", "t1", form("t1", "d1", project="research"))
        await wait_until(lambda: started == [("t1", 1)], 60, "t1 runs")
        await world.platform.publish("task.created", "t2", form("t2", "d1", project="research"))
        await wait_until(
            lambda: any(each.data.reason == "waiting-for-quota" for each in world.platform.said("task.status", "t2")),
            60,
            "t2 waits",
        )
        assert started == [("t1", 1)]
        await finish(world, "t1")
        await wait_until(lambda: started == [("t1", 1), ("t2", 1)], 60, "t2 runs")
        await finish(world, "t2")
        await world.platform.wait_for_phase("t2", "Completed")
    (waited, *_) = [each.data for each in world.platform.said("task.status", "t2") if each.data.queue_position]
    assert (waited.phase.value, waited.queue_position) == ("Queued", 1)
    assert waited.message == "waits for a quota: 1 of 1 tasks of project research run"
    ours = [each for each in world.platform.events if each.key != "d2" and each.topic != "task.created"]
    assert {each.data.project for each in ours} <= {"research", None}
    assert [key async for key in world.store.list("admission/")] == []
    _nothing_planted(world, tmp_path, logged.getvalue())


def _nothing_planted(world: World, folder: Path, logged: str) -> None:
    events = repr([encode(each) for each in world.platform.events]) + repr(world.platform.letters)
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert "task.admitted" in logged
    assert "pl4nt3d" not in events + logged
    assert b"pl4nt3d" not in written
