"""Deployments that share an engine, and whose tasks have the same ids: neither sees the other's jobs, or ends them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, Self

import pytest

from contracts.task import Phase
from handlers import task_state
from handlers.ports.executors import Executor
from handlers.ports.jobs import JobListed, JobStatus
from tests.conformance.engines import HERE
from tests.conformance.executor_harness import Harness
from tests.conformance.local_harness import LocalHarness
from tests.conformance.ray_harness import RayHarness
from tests.conformance.slurm_harness import SlurmHarness
from tests.fakes.clock import ManualClock
from tests.fakes.executors import FakeExecutors
from tests.fakes.store import MemoryStore
from tests.fakes.swept import task_in
from tests.wait import wait_until
from worker.sweeps.orphans import OrphanSweep

RUNNING = JobStatus(state="running")


class Shared(Harness, Protocol):
    """A harness whose engine others may use."""

    def beside(self, namespace: str) -> Self:
        """Return the same for another namespace of the same engine."""
        ...


@pytest.fixture(params=HERE)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    match request.param:
        case "ray":
            return RayHarness(request.getfixturevalue("ray_head"), tmp_path, "mine")
        case "slurm":
            return SlurmHarness(tmp_path, namespace="mine")
        case "local":
            return LocalHarness(tmp_path, "mine")
        case unknown:
            raise NotImplementedError(f"no harness for {unknown}")


@pytest.fixture
async def mine(harness: Shared) -> Shared:
    await harness.open()
    return harness


@pytest.fixture
async def theirs(mine: Shared) -> AsyncIterator[Shared]:
    beside = mine.beside("theirs")
    yield beside
    # Together: the job of one may wait for that of the other.
    await asyncio.gather(mine.close(), beside.close())


async def reaches(executor: Executor, wanted: JobStatus) -> None:
    async def there() -> bool:
        return await executor.status("a", 1) == wanted

    await wait_until(there, 60, f"the job to be {wanted}")


async def test_each_has_its_own_job_of_one_id_and_all_share_the_slots(mine: Shared, theirs: Shared) -> None:
    spec, other = mine.spec("a"), theirs.spec("a", stubborn=True)
    here, there = mine.executor(), theirs.executor()
    await there.submit(other)
    await theirs.running(other)
    assert (await here.status("a", 1)).state == "unknown"
    assert await here.jobs() == []
    await here.cancel("a", 1, 0)
    await here.forget("a", 1)
    await here.submit(spec)
    assert (await here.status("a", 1)).state == "queued"
    assert await here.jobs() == [JobListed("a", 1, "queued")]
    assert await there.jobs() == [JobListed("a", 1, "running")]
    await theirs.end(other, 4)
    await reaches(there, JobStatus(state="ended", exit_code=4))
    await reaches(here, RUNNING)
    await mine.running(spec)
    await mine.end(spec, 5)
    await reaches(here, JobStatus(state="ended", exit_code=5))
    assert (await there.status("a", 1)).exit_code == 4
    assert (mine.starts(spec), theirs.starts(other)) == (1, 1)


async def test_a_sweep_ends_no_job_of_another_one(mine: Shared, theirs: Shared) -> None:
    spec = mine.spec("a")
    here, there = mine.executor(), theirs.executor()
    await there.submit(theirs.spec("a"))
    await theirs.running(spec)
    await here.submit(spec)
    store, clock = MemoryStore(), ManualClock()
    # Here the task is over, so that its jobs are nobody's.
    await task_state.change(store, clock, "a", lambda _: task_in(Phase.TERMINATED, task_id="a"))
    sweep = OrphanSweep(
        store,
        FakeExecutors(here),
        clock,
        every_seconds=1,
        patience_seconds=1,
        retention_seconds=0,
        cancel_grace_seconds=0,
    )
    for _ in range(3):
        await sweep.sweep_when_due()
        await clock.advance(2)
    assert (await here.status("a", 1)).state in ("ended", "unknown")
    assert await there.status("a", 1) == RUNNING
    assert (mine.starts(spec), theirs.starts(spec)) == (0, 1)
