"""What every executor does: the fake, local processes, a real Ray and Slurm. Another joins by a harness of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handlers.ports.executors import Executor
from handlers.ports.jobs import JobListed, JobSpec, JobStatus
from tests.conformance.engines import HERE
from tests.conformance.executor_harness import CountedHarness, FakeHarness, Harness
from tests.conformance.local_harness import LocalHarness
from tests.conformance.ray_harness import RayHarness
from tests.conformance.slurm_harness import SlurmHarness
from tests.wait import wait_until


@pytest.fixture(params=["fake", "counted", *HERE])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    match request.param:
        case "fake":
            return FakeHarness()
        case "counted":
            return CountedHarness()
        case "local":
            return LocalHarness(tmp_path)
        case "ray":
            return RayHarness(request.getfixturevalue("ray_head"), tmp_path)
        case "slurm":
            return SlurmHarness(tmp_path)
        case unknown:
            raise NotImplementedError(f"no harness for {unknown}")


@pytest.fixture
async def engine(harness: Harness) -> AsyncIterator[Harness]:
    await harness.open()
    yield harness
    await harness.close()


@pytest.fixture
def executor(engine: Harness) -> Executor:
    return engine.executor()


async def reaches(executor: Executor, spec: JobSpec, wanted: JobStatus) -> None:
    async def there() -> bool:
        return await executor.status(spec.job_id, spec.attempt) == wanted

    await wait_until(there, 60, f"{spec.job_id} to be {wanted}")


RUNNING = JobStatus(state="running")
UNKNOWN = JobStatus(state="unknown")


async def runs_and_wait(engine: Harness, executor: Executor, first: JobSpec, *later: JobSpec) -> None:
    """Let one job run and others wait for it. An engine that is busy may begin what came a moment later first."""
    await executor.submit(first)
    await engine.running(first)
    for spec in later:
        await executor.submit(spec)


def ended(exit_code: int | None) -> JobStatus:
    return JobStatus(state="ended", exit_code=exit_code)


def queued(position: int) -> JobStatus:
    return JobStatus(state="queued", queue_position=position)


async def test_a_job_runs_and_ends_with_its_exit_code(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.running(spec)
    assert await executor.status("a", 1) == RUNNING
    await engine.end(spec, 3)
    await reaches(executor, spec, ended(3))


async def test_the_same_submit_again_is_the_same_job(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a")
    await executor.submit(spec)
    await executor.submit(spec)
    await engine.running(spec)
    await engine.end(spec, 0)
    await reaches(executor, spec, ended(0))
    await executor.submit(spec)
    assert await executor.status("a", 1) == ended(0)
    assert engine.starts(spec) == 1


async def test_another_spec_under_the_same_handle_is_refused(engine: Harness, executor: Executor) -> None:
    await executor.submit(engine.spec("a"))
    with pytest.raises(ValueError, match="another spec"):
        await executor.submit(engine.spec("a", stubborn=True))
    await engine.running(engine.spec("a"))
    assert await executor.status("a", 1) == RUNNING


async def test_attempts_are_jobs_of_their_own(engine: Harness, executor: Executor) -> None:
    await executor.submit(engine.spec("a"))
    await engine.running(engine.spec("a"))
    await executor.submit(engine.spec("a", attempt=2))
    assert await executor.status("a", 2) == queued(1)


async def test_an_unknown_job_is_a_state_and_no_error(executor: Executor) -> None:
    assert await executor.status("never", 1) == UNKNOWN
    await executor.cancel("never", 1, 5)
    assert await executor.logs("never", 1) == ("", 0)
    await executor.forget("never", 1)
    assert await executor.status("never", 1) == UNKNOWN


async def test_jobs_over_the_slots_queue_in_order(engine: Harness, executor: Executor) -> None:
    first, second, third = (engine.spec(name) for name in ("z", "y", "x"))
    await runs_and_wait(engine, executor, first, second, third)
    assert await executor.status("y", 1) == queued(1)
    assert await executor.status("x", 1) == queued(2)
    await engine.end(first, 0)
    await reaches(executor, second, RUNNING)
    assert await executor.status("x", 1) == queued(1)
    assert engine.starts(third) == 0


async def test_a_job_cancelled_in_the_queue_never_runs(engine: Harness, executor: Executor) -> None:
    first, second, third = (engine.spec(name) for name in ("a", "b", "c"))
    await runs_and_wait(engine, executor, first, second, third)
    await executor.cancel("b", 1, 30)
    await executor.cancel("b", 1, 30)
    assert await executor.status("b", 1) == ended(None)
    assert await executor.status("c", 1) == queued(1)
    await engine.end(first, 0)
    await reaches(executor, third, RUNNING)
    assert engine.starts(second) == 0


async def test_a_cancelled_job_may_save_within_its_grace(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.running(spec)
    await executor.cancel("a", 1, 60)
    await reaches(executor, spec, engine.saved)
    await executor.cancel("a", 1, 60)
    assert await executor.status("a", 1) == engine.saved


async def test_a_job_that_ignores_the_signal_is_killed_after_the_grace(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a", stubborn=True)
    await executor.submit(spec)
    await engine.running(spec)
    await executor.cancel("a", 1, 0.2)
    await reaches(executor, spec, ended(-9))


async def test_a_killed_trainer_is_an_end_with_the_signal(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.running(spec)
    await engine.kill(spec)
    await reaches(executor, spec, ended(-9))


async def test_the_log_is_read_on_from_a_cursor(engine: Harness, executor: Executor) -> None:
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.running(spec)
    text, cursor = await executor.logs("a", 1)
    assert text == "开始\n"
    assert await executor.logs("a", 1, cursor) == ("", cursor)
    assert await executor.logs("a", 1, cursor + 100) == ("", cursor + 100)


async def test_a_job_outlives_the_worker_that_submitted_it(engine: Harness) -> None:
    spec = engine.spec("a")
    await engine.submit_from_a_worker_that_dies(spec)
    await engine.running(spec)
    executor = engine.executor()
    assert await executor.status("a", 1) == RUNNING
    await executor.submit(spec)
    await engine.end(spec, 7)
    await reaches(executor, spec, ended(7))
    assert engine.starts(spec) == 1


async def test_of_executors_that_race_to_submit_a_job_one_child_comes(engine: Harness) -> None:
    spec = engine.spec("a")
    executors = [engine.executor() for _ in range(8)]
    await asyncio.gather(*(executor.submit(spec) for executor in executors))
    await engine.running(spec)
    assert {(await executor.status("a", 1)).state for executor in executors} == {"running"}
    assert engine.starts(spec) == 1


async def test_an_ended_job_is_forgotten_and_a_running_one_is_not(engine: Harness, executor: Executor) -> None:
    spec, waiting = engine.spec("a"), engine.spec("b")
    await runs_and_wait(engine, executor, spec, waiting)
    for job_id in ("a", "b"):
        await executor.forget(job_id, 1)
    assert await executor.status("a", 1) == RUNNING
    assert await executor.status("b", 1) == queued(1)
    await engine.end(spec, 0)
    await reaches(executor, spec, ended(0))

    async def forgotten() -> bool:
        await executor.forget("a", 1)
        return await executor.status("a", 1) == UNKNOWN

    await wait_until(forgotten, 60, "the engine to be done with the job")
    await executor.forget("a", 1)
    assert await executor.status("a", 1) == UNKNOWN
    assert await executor.logs("a", 1) == ("", 0)


async def test_every_job_is_listed_whoever_submitted_it(engine: Harness, executor: Executor) -> None:
    assert await executor.jobs() == []
    first, second = engine.spec("a"), engine.spec("b", attempt=2)
    await runs_and_wait(engine, executor, first, second)
    listed = await engine.executor().jobs()
    assert sorted(listed) == [JobListed("a", 1, "running"), JobListed("b", 2, "queued")]
