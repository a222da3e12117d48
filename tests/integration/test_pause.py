"""Pause and resume through a real broker, with real processes: no process is left, and one run counts."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.task import Phase
from handlers import layout, task_state
from tests.fakes.executors import FakeExecutors
from tests.integration.conftest import World
from tests.platform import as_json, form
from tests.wait import wait_until
from worker.clock import SystemClock
from worker.executors.local import LocalExecutor
from worker.story import story_of

pytestmark = pytest.mark.parametrize("servers", ["embedded"], indirect=True)

TRAINER = (sys.executable, "-m", "tests.integration.slow_trainer")


@asynccontextmanager
async def _service(world: World, heartbeat_seconds: float = 0.5) -> AsyncIterator[LocalExecutor]:
    """Run a worker whose trainers are processes, and end what is left of them."""
    settings = replace(
        world.settings, heartbeat_seconds=heartbeat_seconds, orphan_seconds=1.0, job_retention_seconds=2.0
    )
    executor = LocalExecutor(settings.work_dir, 1, TRAINER, settings.to_environment())
    try:
        async with world._replace(settings=settings).worker(executors=FakeExecutors(executor)):
            yield executor
    finally:
        assert await executor.kill_all()
        await executor.close()


async def _command(world: World, name: str) -> None:
    await world.platform.publish("task.command", "t1", {"command_id": f"{name}-1", "task_id": "t1", "command": name})


def _trainers(folder: Path) -> list[int]:
    """Return the processes that train in a folder, supervisors included."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if b"slow_trainer" in command and os.fsencode(folder) in command:
                found.append(int(process.name))
    return found


async def _training(world: World, task: dict[str, Any]) -> None:
    await world.import_dataset("d1")
    await world.platform.publish("task.created", "t1", task)
    await wait_until(
        lambda: any(event.data.progress for event in world.platform.said("training.progress", "t1")), 60, "a step"
    )


async def test_a_task_pauses_in_the_middle_frees_its_slot_and_goes_on_from_there(world: World) -> None:
    async with _service(world) as executor:
        await _training(world, form("t1", "d1"))
        await _command(world, "pause")
        paused = await world.platform.wait_for_phase("t1", "Paused", 60)
        await wait_until(lambda: not _trainers(world.settings.work_dir), 60, "the trainer's end")
        assert paused.resumable
        step = paused.progress.step
        assert 0 < step < 100

        await _command(world, "resume")
        completed = await world.platform.wait_for_phase("t1", "Completed", 60)
        assert (completed.attempt, completed.retry_count) == (2, 0)
        # The retention of this test is short: the job's directories go, and nobody asks for them again.
        await wait_until(lambda: _no_jobs(executor), 60, "the jobs to be forgotten")
    phases = world.platform.phases("t1")
    resumed = phases[phases.index("Paused") :]
    # What follows quickly is said in one word: the phases in between may be missing, and never come in another order.
    between = [phase for phase in ("Deploying", "Running") if phase in resumed]
    assert resumed == ["Paused", "Queued", *between, "Completing", "Completed"]
    dispatched = {event.data.attempt: event.id for event in world.platform.said("training.dispatched", "t1")}
    assert dispatched.keys() == {1, 2}
    steps = [event.data.progress.step for event in world.platform.said("training.progress", "t1") if _of(event, 2)]
    assert steps[0] == step + 1, "not one step was done twice"
    (exported,) = {event.data.model_id for event in world.platform.said("model.exported", "t1")}
    manifest = as_json((await world.store.get(layout.model(exported) + "manifest.json") or (b"null",))[0])
    assert (manifest["attempt"], manifest["lineage"]["executor"]) == (2, "local")
    story = await story_of(world.store, "t1")
    assert [(end.attempt, end.reason) for end in story.ends] == [(1, "paused-by-user")]


async def _no_jobs(executor: LocalExecutor) -> bool:
    return await executor.jobs() == []


def _of(event: Any, attempt: int) -> bool:
    return event.data.attempt == attempt and event.data.progress is not None


async def test_a_job_that_outlives_its_task_is_ended(world: World) -> None:
    # The trainer would end by itself at its next look at the state, which comes too late here.
    async with _service(world, heartbeat_seconds=3600.0):
        await _training(world, form("t1", "d1"))
        failed = await task_state.change(
            world.store, SystemClock(), "t1", lambda now: replace(now, phase=Phase.FAILED) if now else None
        )
        assert failed is not None
        assert _trainers(world.settings.work_dir)
        await wait_until(lambda: not _trainers(world.settings.work_dir), 60, "the orphan's end")
