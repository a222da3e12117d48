"""Jobs that run for nobody are ended, jobs that ended long ago are forgotten, and other people's are left alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.task import Phase
from handlers import layout, task_state
from handlers.orphans import Fate, fate_of
from handlers.ports.jobs import JobListed, JobSpec, JobState, JobStatus
from handlers.task_state import TaskState
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.swept import PATIENCE, Swept, running, task_in
from tests.fakes.world import World, command_event

NOW = datetime(2026, 1, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
EVERY = 60.0
SWEEPS: dict[str, Any] = {"orphan_seconds": EVERY, "job_retention_seconds": WEEK.total_seconds()}


def _task(phase: Phase, **fields: Any) -> TaskState:
    return task_in(phase, **({"attempt": 2, "changed_at": NOW - WEEK} | fields))


@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize(
    ("task", "attempt", "executor", "fate"),
    [
        (_task(Phase.QUEUED), 2, "local", Fate.KEEP),
        (_task(Phase.DEPLOYING), 2, "local", Fate.KEEP),
        (_task(Phase.RUNNING), 2, "local", Fate.KEEP),
        # Those two are asked to end by the sweep of tasks, with their grace.
        (_task(Phase.RUNNING, desired="pause"), 2, "local", Fate.KEEP),
        (_task(Phase.TERMINATING, desired="stop"), 2, "local", Fate.KEEP),
        (_task(Phase.RUNNING), 1, "local", Fate.END),
        (_task(Phase.RUNNING), 2, "slurm", Fate.END),
        (_task(Phase.PAUSED, desired="pause"), 2, "local", Fate.END),
        (_task(Phase.COMPLETING), 2, "local", Fate.END),
        (_task(Phase.COMPLETED), 2, "local", Fate.END),
        (_task(Phase.TERMINATED), 2, "local", Fate.END),
        (_task(Phase.FAILED), 2, "local", Fate.END),
        (None, 1, "local", Fate.END),
    ],
)
def test_a_job_that_lives(task: TaskState | None, attempt: int, executor: str, fate: Fate, state: JobState) -> None:
    assert fate_of(JobListed("t-1", attempt, state), executor, task, NOW, WEEK) is fate


@pytest.mark.parametrize("state", ["ended", "unknown"])
@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize(
    ("task", "fate"),
    [
        (_task(Phase.RUNNING), Fate.KEEP),
        (_task(Phase.PAUSED), Fate.KEEP),
        (_task(Phase.COMPLETED), Fate.FORGET),
        (_task(Phase.FAILED), Fate.FORGET),
        (_task(Phase.FAILED, changed_at=NOW - WEEK + timedelta(seconds=1)), Fate.KEEP),
        (None, Fate.KEEP),
    ],
)
def test_a_job_that_ended(task: TaskState | None, fate: Fate, attempt: int, state: JobState) -> None:
    assert fate_of(JobListed("t-1", attempt, state), "local", task, NOW, WEEK) is fate


# --- sweeps ----------------------------------------------------------------------------------------------------


async def _state(world: World, phase: Phase, **fields: Any) -> None:
    await task_state.change(world.store, world.clock, "t-1", lambda _: task_in(phase, **fields))


async def _submitted(world: World, executor: FakeExecutor, job_id: str = "t-1", *, ours: bool = True) -> None:
    prefix = layout.attempt(job_id, 1)
    await executor.submit(JobSpec(job_id=job_id, task_id=job_id, attempt=1, plan_key="p", attempt_prefix=prefix))
    if ours:
        await world.store.put(prefix + "spec.json", b"{}")


async def test_a_job_whose_task_has_ended_is_ended_after_patience_and_not_before() -> None:
    swept = Swept(**SWEEPS)
    await _submitted(swept.world, swept.world.executor)
    await _state(swept.world, Phase.TERMINATED)
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert swept.world.executor.cancels == [], "it is looked at now and then only"
    await swept.sweep(after=EVERY)
    assert swept.world.executor.cancels == [("t-1", 1, 30.0)]
    await swept.sweep(after=EVERY)
    assert len(swept.world.executor.cancels) == 1


async def test_a_superseded_attempt_that_runs_on_is_ended_and_the_current_one_is_not() -> None:
    swept = await running(settings=SWEEPS)
    swept.world.executor.lose("t-1", 1)
    await swept.sweep(after=PATIENCE)
    swept.world.executor.set_state("t-1", 1, await swept.world.executor.status("t-1", 2))  # it was there all the time
    for _ in range(3):
        await swept.sweep(after=EVERY)
    assert [cancelled[:2] for cancelled in swept.world.executor.cancels] == [("t-1", 1)]
    assert (await swept.world.executor.status("t-1", 2)).state == "running"


@pytest.mark.parametrize("ours", [True, False])
async def test_a_job_of_an_unknown_task_is_ended_only_where_it_was_submitted_over_this_bucket(*, ours: bool) -> None:
    swept = Swept(**SWEEPS)
    await _submitted(swept.world, swept.world.executor, "nobody", ours=ours)
    for _ in range(4):
        await swept.sweep(after=EVERY)
    # Another deployment may share the engine: its tasks are in a bucket of its own.
    assert [cancelled[0] for cancelled in swept.world.executor.cancels] == (["nobody"] if ours else [])


async def test_what_ended_is_forgotten_after_its_time_and_its_state_is_not_read_until_then() -> None:
    swept = await running(settings=SWEEPS)
    await swept.world.run(command_event("stop"))
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).phase is Phase.TERMINATED
    await swept.sweep(after=EVERY)
    read: list[str] = []
    get = swept.world.store.get

    async def watched(key: str, **options: Any) -> Any:
        read.append(key)
        return await get(key, **options)

    swept.world.store.get = watched  # type: ignore[method-assign]  # a bucket that says what is read of it
    await swept.sweep(after=EVERY)
    assert not [key for key in read if "state.json" in key]
    assert swept.world.executor.forgotten == []
    await swept.sweep(after=WEEK.total_seconds())
    assert swept.world.executor.forgotten == [("t-1", 1)]


async def test_an_executor_that_does_not_answer_does_not_keep_the_others_from_being_swept() -> None:
    silent, other = FakeExecutor("silent"), FakeExecutor("local")
    world = World()
    world.ports["executors"] = FakeExecutors(silent, other)
    swept = Swept(world, **SWEEPS)
    await _submitted(world, other)
    await _state(world, Phase.FAILED)
    silent.available = False
    await swept.sweep()
    await swept.sweep(after=EVERY)
    assert other.cancels == [("t-1", 1, 30.0)]


async def test_a_job_that_was_gone_with_its_task_and_is_there_again_is_ended() -> None:
    swept = Swept(**SWEEPS)
    await _submitted(swept.world, swept.world.executor)
    await _state(swept.world, Phase.FAILED)
    swept.world.executor.lose("t-1", 1)
    await swept.sweep()
    swept.world.executor.set_state("t-1", 1, JobStatus(state="running"))
    await swept.sweep(after=EVERY)
    await swept.sweep(after=EVERY)
    assert swept.world.executor.cancels == [("t-1", 1, 30.0)]
