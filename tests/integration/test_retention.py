"""Models expire under a whole worker: said once, deleted only then, whatever kills it; and none that a ref names."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from contracts.codec import encode
from handlers import layout
from tests.e2e.chaos.boundaries import arm
from tests.integration import dying_worker
from tests.integration.conftest import World
from tests.integration.test_flow import _finish as finish
from tests.platform import as_json, form
from tests.wait import wait_until
from worker.demo.processes import child_environment, run_to_end
from worker.settings import Settings

#: Less than a second.
RETENTION = "every_project = { model_retention_days = 0.00001 }\n"


async def exported(world: World, *task_ids: str) -> list[str]:
    """Have tasks trained and their models exported, by a worker that lets none expire; return the models' ids."""
    async with world.worker():
        await world.import_dataset("d1")
        for task_id in task_ids:
            await world.platform.publish("task.created", task_id, form(task_id, "d1"))
            await world.platform.wait_for("training.dispatched", task_id)
            await finish(world, task_id)
            await world.platform.wait_for_phase(task_id, "Completed")
    return [(await world.platform.wait_for("model.exported", task_id)).data.model_id for task_id in task_ids]


def retaining(settings: Settings, folder: Path) -> Settings:
    (folder / "projects.toml").write_text(RETENTION)
    return replace(settings, projects_file=folder / "projects.toml", retention_sweep_seconds=0.2)


async def models(settings: Settings, *words: str) -> Any:
    """Run ``worker models`` as a process, whose stdout has no logs of ours; return its JSON. Raises ProcessFailed."""
    return as_json((await run_to_end(settings, "worker", "models", *words, "--json")).encode())


class Files:
    """The files of a model in a bucket that is a folder."""

    def __init__(self, folder: Path, model_id: str) -> None:
        self._folder = folder / "bucket" / layout.model(model_id)

    def names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())

    def marked(self) -> bool:
        return as_json((self._folder / "manifest.json").read_bytes()).get("expiry") is not None


async def test_a_model_expires_and_one_that_a_ref_names_stays_until_it_has_no_name(
    world: World, tmp_path: Path
) -> None:
    unnamed, named = await exported(world, "t1", "t2")
    files = {model_id: Files(tmp_path, model_id) for model_id in (unnamed, named)}
    whole = files[named].names()
    tagged = await models(world.settings, "tag", "production", named)
    assert tagged == {"ref": "refs/default/production", "model_id": named, "before": None}

    world = world._replace(settings=retaining(world.settings, tmp_path))
    async with world.worker():
        expired = (await world.platform.wait_for("model.expired", "t1")).data
        await wait_until(lambda: files[unnamed].names() == ["manifest.json"], 60, "its files to go")
        # It is older than its project keeps models, too, and was looked at in each of the same sweeps.
        assert (files[named].names(), files[named].marked()) == (whole, False)
        listed = {entry["model_id"]: entry for entry in (await models(world.settings, "list"))["models"]}
        assert listed[unnamed]["expired_at"] is not None
        assert (listed[named]["refs"], listed[named].get("expired_at")) == (["refs/default/production"], None)

        await models(world.settings, "untag", "refs/default/production")
        await wait_until(lambda: files[named].names() == ["manifest.json"], 60, "the files of the other to go")
    assert (expired.model_id, expired.project) == (unnamed, "default")
    assert expired.size_bytes > 0
    await wait_until(world.platform.caught_up, 60, "all to be heard")
    assert [event.data.model_id for event in world.platform.said("model.expired")] == [unnamed, named]


async def test_a_worker_that_is_killed_at_any_step_is_followed_by_one_that_goes_on(
    world: World, tmp_path: Path
) -> None:
    (model_id,) = await exported(world, "t1")
    files = Files(tmp_path, model_id)
    whole = files.names()
    settings = retaining(world.settings, tmp_path)

    async def after(step: str) -> tuple[bool, bool, Sequence[str]]:
        """Kill a worker at a step; return whether the model is marked then, whether that was said, and its files."""
        await _killed(settings, tmp_path / step, step)
        await wait_until(world.platform.caught_up, 60, "all to be heard")
        return files.marked(), bool(world.platform.said("model.expired")), files.names()

    assert await after("before-mark") == (False, False, whole)
    assert await after("after-mark") == (True, False, whole)
    assert await after("before-said") == (True, False, whole)
    assert await after("after-said") == (True, True, whole)
    marked, said, left = await after("after-first-deletion")
    assert (marked, said, len(left)) == (True, True, len(whole) - 1)

    async with world._replace(settings=settings).worker():
        await wait_until(lambda: files.names() == ["manifest.json"], 60, "the other files to go")
    said_again = world.platform.said("model.expired", "t1")
    assert len({event.id for event in said_again}) == 1
    assert len({str(encode(event)) for event in said_again}) == 1


async def _killed(settings: Settings, traps: Path, step: str) -> None:
    """Run a worker until it is killed at a step."""
    assert step in dying_worker.STEPS
    arm(traps, step, passages=1)
    with (traps / "worker.log").open("wb") as log:
        command = (sys.executable, "-m", dying_worker.__name__, str(traps))
        process = await asyncio.create_subprocess_exec(*command, stderr=log, env=child_environment(settings))
    try:
        async with asyncio.timeout(60):
            assert await process.wait() == -signal.SIGKILL, (traps / "worker.log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
