"""What only the Slurm executor promises: a real cluster, parts of which are killed at the worst moments."""

import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.task import Phase
from deploy.local.slurm import LocalSlurm
from handlers.errors import Transient, Unavailable
from handlers.ports.executors import Executor
from handlers.ports.jobs import JobListed, JobSpec, JobStatus, Resources
from handlers.reconciliation import Action, Patience, Silence, decide
from handlers.task_state import TaskState
from tests import slurm_servers
from tests.conformance.held_trainers import STUB
from tests.conformance.slurm_harness import SlurmHarness
from tests.wait import wait_until
from worker.executors import job_supervisor
from worker.executors.slurm_client import SlurmClient
from worker.executors.slurm_step import NOT_RUN

pytestmark = pytest.mark.skipif(not slurm_servers.possible(), reason="needs a real Slurm: make slurm")


@asynccontextmanager
async def cluster(directory: Path, slurm: LocalSlurm | None = None) -> AsyncIterator[SlurmHarness]:
    harness = SlurmHarness(directory, slurm)
    await harness.open()
    try:
        yield harness
    finally:
        await harness.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SlurmHarness]:
    async with cluster(tmp_path) as harness:
        yield harness


async def reaches(executor: Executor, spec: JobSpec, *states: str) -> JobStatus:
    status = JobStatus(state="unknown")

    async def there() -> bool:
        nonlocal status
        status = await executor.status(spec.job_id, spec.attempt)
        return status.state in states

    await wait_until(there, 60, f"{spec.job_id} to be one of {states}")
    return status


def gone(pid: int) -> bool:
    return job_supervisor.identify(pid)["start_ticks"] is None


# --- submits that race and die ---------------------------------------------------------------------------


async def test_of_eight_workers_that_race_and_die_one_job_comes(engine: SlurmHarness) -> None:
    spec = engine.spec("a")
    with ExitStack() as stack:
        workers = [stack.enter_context(engine.worker_that_dies(spec)) for _ in range(8)]
        await wait_until(lambda: all(worker.poll() is not None for worker in workers), 90, "the workers to die")
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL] * 8
    await engine.running(spec)
    assert [job.state for job in await SlurmClient(engine.slurm.conf, 0).jobs()] == ["RUNNING"]
    assert engine.starts(spec) == 1


async def test_a_worker_that_dies_before_sbatch_answers_leaves_a_job_for_the_next_submit(
    engine: SlurmHarness, tmp_path: Path
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    # What a worker calls: it submits, and its caller is dead before it can read the answer.
    sbatch.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" > /dev/null\nkill -9 $PPID\n')
    sbatch.chmod(0o755)
    spec, executor = engine.spec("a"), engine.executor()
    with engine.worker_that_dies(spec, f"{sbatch.parent}:{os.environ['PATH']}") as worker:
        await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
    # For the reconciler there is nothing that will ever run; for a sweep there is something to cancel.
    assert await executor.status("a", 1) == JobStatus(state="unknown")
    assert await executor.jobs() == [JobListed("a", 1, "queued")]
    await executor.submit(spec)
    await engine.running(spec)
    assert await executor.status("a", 1) == JobStatus(state="running")
    assert len(await SlurmClient(engine.slurm.conf, 0).jobs()) == 1


async def test_what_a_dead_worker_left_parked_beside_the_job_is_cancelled_by_the_next_submit(
    engine: SlurmHarness, tmp_path: Path
) -> None:
    spec, executor = engine.spec("a"), engine.executor()
    other = engine.spec("b")
    await executor.submit(other)
    await executor.submit(spec)
    folder = tmp_path / "jobs" / "a.1"
    engine.commands("sbatch", "--begin=2099-01-01T00:00:00", "--gres=gpu:1", f"--chdir={folder}", "--wrap=true")
    assert (await executor.status("a", 1)).state == "queued"
    await executor.submit(spec)
    states = [job.state for job in await SlurmClient(engine.slurm.conf, 0).jobs() if job.directory == folder]
    assert states == ["PENDING"]


async def test_an_administrators_hold_stays(engine: SlurmHarness) -> None:
    spec, executor = engine.spec("b"), engine.executor()
    await executor.submit(engine.spec("a"))
    await executor.submit(spec)
    await engine.running(engine.spec("a"))
    engine.commands("scontrol", "hold", "2")
    await executor.submit(spec)
    await engine.end(engine.spec("a"), 0)
    await reaches(executor, engine.spec("a"), "ended")
    assert (await executor.status("b", 1)).state == "queued"
    engine.commands("scontrol", "release", "2")
    await engine.running(spec)


async def test_what_slurm_does_not_take_is_said_in_its_words_and_leaves_nothing(engine: SlurmHarness) -> None:
    executor = engine.executor()
    too_much = replace(engine.spec("a"), resources=Resources(gpus=3))
    with pytest.raises(Transient, match="node configuration is not available") as refusal:
        await executor.submit(too_much)
    assert not isinstance(refusal.value, Unavailable)
    assert await SlurmClient(engine.slurm.conf, 0).jobs() == []
    assert (await executor.status("a", 1)).state == "unknown"


# --- a controller that dies ------------------------------------------------------------------------------


async def test_a_killed_controller_is_unavailable_and_loses_nothing(engine: SlurmHarness) -> None:
    running, waiting, executor = engine.spec("a"), engine.spec("b"), engine.executor()
    await executor.submit(running)
    await executor.submit(waiting)
    await engine.running(running)
    await engine.state_saved()
    await engine.slurm.kill_controller()
    with pytest.raises(Unavailable, match="squeue"):
        await executor.status("a", 1)
    await engine.slurm.start_controller()
    assert await executor.status("a", 1) == JobStatus(state="running")
    assert await executor.status("b", 1) == JobStatus(state="queued", queue_position=1)
    await executor.submit(running)
    await executor.submit(waiting)
    await engine.end(running, 4)
    assert await reaches(executor, running, "ended") == JobStatus(state="ended", exit_code=4)
    await engine.running(waiting)
    assert [engine.starts(running), engine.starts(waiting)] == [1, 1]


async def test_what_slurm_starts_a_second_time_does_not_run(engine: SlurmHarness) -> None:
    spec, executor = engine.spec("a"), engine.executor()
    engine.commands("scontrol", "update", "PartitionName=main", "State=DOWN")
    await executor.submit(spec)
    await engine.state_saved()
    waiting = engine.slurm.saved_jobs()
    engine.commands("scontrol", "update", "PartitionName=main", "State=UP")
    await engine.running(spec)
    # As if no state had been saved since the one in which the job waits: Slurm kills what runs of it and starts it once
    # more.
    await engine.slurm.kill_controller()
    await engine.slurm.start_controller(jobs=waiting)
    await wait_until(lambda: gone(engine.pid(spec)), 60, "Slurm to kill what runs")
    # A node starts nothing of a job that it was told to kill in the same second or later.
    killed = time.time()
    await wait_until(lambda: time.time() > killed + 2, 60, "the next second")
    engine.commands("scontrol", "update", "PartitionName=main", "State=UP")

    async def started_again() -> bool:
        return "begun before" in (await executor.logs("a", 1))[0]

    await wait_until(started_again, 60, "Slurm to start the job again")
    assert (await reaches(executor, spec, "ended")).exit_code in (NOT_RUN, -signal.SIGTERM, -signal.SIGKILL)
    assert engine.starts(spec) == 1


@pytest.mark.parametrize("forgetful", [False, True], ids=["which has it waiting", "which knows nothing of it"])
async def test_a_job_that_runs_is_not_begun_again_after_a_controllers_death(
    engine: SlurmHarness, *, forgetful: bool
) -> None:
    spec, executor = engine.spec("a"), engine.executor()
    engine.commands("scontrol", "update", "PartitionName=main", "State=DOWN")
    await executor.submit(spec)
    await engine.state_saved()
    waiting = engine.slurm.saved_jobs()
    engine.commands("scontrol", "update", "PartitionName=main", "State=UP")
    await engine.running(spec)
    await engine.slurm.kill_controller()
    await engine.slurm.start_controller(forgetful=forgetful, jobs=None if forgetful else waiting)
    await wait_until(lambda: gone(engine.pid(spec)), 60, "Slurm to kill the job it does not know")
    engine.commands("scontrol", "update", "PartitionName=main", "State=UP")
    await executor.submit(spec)
    status = await reaches(executor, spec, "ended", "unknown")
    assert status.exit_code in (None, NOT_RUN, -signal.SIGTERM, -signal.SIGKILL)
    await engine.end(spec, 0)
    after = replace(spec, attempt=2)
    await executor.submit(after)
    await engine.running(after)
    assert engine.starts(spec) == 1


async def test_a_job_that_slurm_is_not_done_with_is_not_forgotten(engine: SlurmHarness, tmp_path: Path) -> None:
    spec, executor = engine.spec("a"), engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    # As the job's supervisor leaves it a moment before Slurm knows.
    job_supervisor.write(tmp_path / "jobs" / "a.1" / "exit.json", {"exit_code": 3})
    await executor.forget("a", 1)
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=3)


async def test_how_a_job_ended_is_known_longer_than_slurm_knows_it(tmp_path: Path) -> None:
    async with cluster(tmp_path, LocalSlurm(remembered_seconds=2)) as engine:
        spec, executor, client = engine.spec("a"), engine.executor(), SlurmClient(engine.slurm.conf, 0)
        await executor.submit(spec)
        await engine.end(spec, 3)

        async def forgotten() -> bool:
            return engine.starts(spec) > 0 and not await client.jobs()

        await wait_until(forgotten, 60, "Slurm to forget the job")
        assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=3)
        assert await executor.jobs() == [JobListed("a", 1, "ended")]
        await executor.submit(spec)
        with pytest.raises(ValueError, match="another spec"):
            await executor.submit(engine.spec("a", stubborn=True))
        assert await client.jobs() == []


# --- a node that dies, and ends that others make ---------------------------------------------------------


async def test_a_job_whose_node_died_is_tried_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, LocalSlurm(node_patience_seconds=2)) as engine:
        spec, executor = engine.spec("a"), engine.executor()
        await executor.submit(spec)
        await engine.running(spec)
        await engine.slurm.kill_node()
        status = await reaches(executor, spec, "ended")
        assert status == JobStatus(state="ended", exit_code=None, cause="node-failed")
        state = TaskState(task_id="t", phase=Phase.RUNNING, attempt=1, retry_limit=3)
        assert decide(state, status, Silence(11, 0), Patience(10, 1000)).action is Action.RETRY
        await engine.slurm.start_node()
        again = replace(spec, attempt=2)
        await executor.submit(again)
        await engine.running(again)
        assert engine.starts(spec) == 1


async def test_the_grace_ends_even_where_every_worker_is_dead(engine: SlurmHarness, tmp_path: Path) -> None:
    spec = engine.spec("a", stubborn=True)
    await engine.submit_from_a_worker_that_dies(spec)
    await engine.running(spec)
    folder = tmp_path / "jobs" / "a.1"
    # As much as a worker leaves that dies between the wish and its signal. No executor looks from here on.
    job_supervisor.ask_to_end(folder, 0.2)
    await wait_until((folder / "exit.json").exists, 60, "the job to end")
    assert job_supervisor.read(folder / "exit.json") == {"exit_code": -9}


async def test_a_shorter_grace_holds_and_a_longer_one_does_not(engine: SlurmHarness) -> None:
    spec, executor = engine.spec("a", stubborn=True), engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    for grace_seconds in (600, 0.2, 600):
        await executor.cancel("a", 1, grace_seconds)
    assert await reaches(executor, spec, "ended") == JobStatus(state="ended", exit_code=-9)


async def test_a_job_that_was_cancelled_while_it_began_ends(engine: SlurmHarness) -> None:
    spec, executor = engine.spec("a", stubborn=True), engine.executor()
    await executor.submit(spec)
    await reaches(executor, spec, "running")
    # Its trainer may not be there yet, nor anything that would take a signal.
    await executor.cancel("a", 1, 0)
    await reaches(executor, spec, "ended")


async def test_an_administrators_kill_is_an_end_and_no_success(engine: SlurmHarness) -> None:
    spec, executor = engine.spec("a", stubborn=True), engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    # Slurm asks all of the job's processes to end, its supervisor too, and kills them five seconds later.
    engine.commands("scancel", "1")
    status = await reaches(executor, spec, "ended")
    assert status.exit_code in (-signal.SIGTERM, -signal.SIGKILL)
    assert gone(engine.pid(spec))


# --- what jobs get ---------------------------------------------------------------------------------------


async def test_gpus_limit_what_runs_at_once_and_no_two_jobs_share_one(tmp_path: Path) -> None:
    async with cluster(tmp_path, LocalSlurm(gpus=2)) as engine:
        executor = engine.executor(("sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; exec {' '.join(STUB)}"))
        first, second, third = (engine.spec(name) for name in ("a", "b", "c"))
        for spec in (first, second, third):
            await executor.submit(spec)
        await engine.running(first)
        await engine.running(second)
        assert await executor.status("c", 1) == JobStatus(state="queued", queue_position=1)
        seen = [(await executor.logs(spec.job_id, 1))[0].split()[0] for spec in (first, second)]
        assert sorted(seen) == ["0", "1"]
        await engine.end(second, 0)
        await engine.running(third)


async def test_a_job_sees_what_it_is_told_and_no_secret_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_KAFKA_PASSWORD", "planted")
    monkeypatch.setenv("SBATCH_EXPORT", "ALL")
    odd = tmp_path / "50%j off | 中 文"
    odd.mkdir()
    async with cluster(odd) as engine:
        executor = engine.executor(("sh", "-c", "env; sleep 0"))
        spec = replace(engine.spec("a"), plan_key="it's $HOME", resources=Resources(gpus=1, time_limit_seconds=61))
        await executor.submit(spec)
        await reaches(executor, spec, "ended")
        printed, _ = await executor.logs("a", 1)
        assert "it's $HOME" in printed
        assert f"CONTROL={odd}/control" in printed
        assert "SLURM_EXPORT_ENV" not in printed
        assert "TimeLimit=00:02:00" in engine.commands("scontrol", "show", "job", "1")
        assert "planted" not in printed
        assert not [path for path in engine.slurm.conf.parent.rglob("*") if path.is_file() and holds(path, b"planted")]


def holds(path: Path, text: bytes) -> bool:
    return text in path.read_bytes()


async def test_a_command_that_cannot_start_ends_and_says_why(engine: SlurmHarness) -> None:
    executor, spec = engine.executor(["/no/such/program"]), engine.spec("a")
    await executor.submit(spec)
    assert (await reaches(executor, spec, "ended")).exit_code == job_supervisor.NOT_STARTED
    assert "cannot start /no/such/program" in (await executor.logs("a", 1))[0]


async def test_clusters_of_other_buckets_are_none_of_ours(engine: SlurmHarness, tmp_path: Path) -> None:
    theirs = SlurmHarness(tmp_path / "theirs", engine.slurm)
    spec = engine.spec("a")
    await theirs.executor().submit(spec)
    await theirs.running(spec)
    executor = engine.executor()
    assert await executor.jobs() == []
    await executor.cancel("a", 1, 0)
    await executor.submit(spec)
    assert await executor.status("a", 1) == JobStatus(state="queued", queue_position=1)
    assert await theirs.executor().status("a", 1) == JobStatus(state="running")
