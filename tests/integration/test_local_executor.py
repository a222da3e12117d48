"""What only the local executor promises: real processes, killed at the worst moments."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from handlers.errors import Unavailable
from handlers.ports.jobs import JobSpec, JobState, JobStatus, Resources
from tests.conformance.held_trainers import STUB
from tests.conformance.local_harness import LocalHarness
from tests.wait import wait_until
from worker.executors import job_supervisor, local_jobs
from worker.executors.local import LocalExecutor
from worker.executors.local_job import LocalJob


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[LocalHarness]:
    harness = LocalHarness(tmp_path)
    yield harness
    await harness.close()


def gone(pid: int) -> bool:
    return job_supervisor.identify(pid)["start_ticks"] is None


async def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: gone(pid), 60, f"process {pid} to be gone")


async def state(executor: LocalExecutor, spec: JobSpec) -> str:
    return (await executor.status(spec.job_id, spec.attempt)).state


async def engine_starts(executor: LocalExecutor, engine: LocalHarness, spec: JobSpec) -> None:
    async def started() -> bool:
        await executor.tick()
        return engine.starts(spec) > 0

    await wait_until(started, 60, f"{spec.job_id} to start")


async def test_run_starts_queued_jobs_unasked(engine: LocalHarness) -> None:
    executor = engine.executor()
    first, second = engine.spec("a"), engine.spec("b")
    await executor.submit(first)
    await executor.submit(second)
    loop = asyncio.create_task(executor.run())
    await engine.end(first, 0)
    await engine.running(second)
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop


async def test_of_workers_that_race_and_die_one_child_comes(engine: LocalHarness) -> None:
    spec = engine.spec("a")
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(engine.worker_that_dies(spec)) for _ in range(3)]
        await wait_until(lambda: all(worker.poll() is not None for worker in workers), 60, "the workers to die")
    await engine.running(spec)
    executor = engine.executor()
    assert await state(executor, spec) == "running"
    assert engine.starts(spec) == 1


async def test_a_second_supervisor_leaves_the_job_alone(engine: LocalHarness) -> None:
    spec = engine.spec("a")
    executor = engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    code = "import os, sys; from pathlib import Path; from worker.executors.job_supervisor import supervise;"
    code += "supervise(Path(sys.argv[1]), sys.argv[2:], os.pipe()[1])"
    command = [sys.executable, "-c", code, str(engine.directory(spec)), "sleep", "1000"]
    # It returns at once; if it ran the command, it would not.
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=30)
    assert await state(executor, spec) == "running"


async def test_a_reboot_loses_running_jobs_and_keeps_the_queue(engine: LocalHarness) -> None:
    first, second = engine.spec("a"), engine.spec("b")
    executor = engine.executor()
    await executor.submit(first)
    await executor.submit(second)
    await engine.running(first)
    await kill(engine.supervisor_pid(first))
    await kill(engine.pid(first))
    assert await state(executor, first) == "unknown"
    await executor.submit(first)
    await engine.running(second)
    assert await state(executor, first) == "unknown"
    assert engine.starts(first) == 1
    await executor.forget("a", 1)
    assert not engine.directory(first).exists()


@pytest.mark.parametrize("field", ["start_ticks", "boot_id"])
async def test_another_process_under_the_same_pid_is_not_the_job(engine: LocalHarness, field: str) -> None:
    spec = engine.spec("a")
    executor = engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    for name in ("supervisor.json", "trainer.json"):
        path = engine.directory(spec) / name
        recorded = job_supervisor.read(path)
        assert recorded is not None
        job_supervisor.write(path, {**recorded, field: "1"}, once=False)
    assert await state(executor, spec) == "unknown"
    await executor.cancel("a", 1, 0)
    assert not gone(engine.pid(spec))
    await engine.end(spec, 0)
    await engine.over(spec)


_TELLS_ITS_TRACE = """
import os
from pathlib import Path

(draft := Path(os.environ["CONTROL"], "draft")).write_text(os.environ.get("TRACEPARENT", ""))
draft.rename(draft.with_name("trace"))
"""


async def test_a_job_is_told_where_in_a_trace_it_was_begun(engine: LocalHarness) -> None:
    command = (sys.executable, "-c", _TELLS_ITS_TRACE)
    executor = LocalExecutor(engine.work_dir, 1, command, {"CONTROL": str(engine.control)})
    spec = replace(engine.spec("a"), traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await executor.submit(spec)
    # Whoever knows of no traces, or of another one, submits the same job.
    await executor.submit(replace(spec, traceparent=None))
    await executor.close()
    told = engine.control / "trace"
    await wait_until(told.exists, 60, "the trainer to tell it")
    assert told.read_text() == spec.traceparent
    await engine.over(spec)


_LITTERS = """
import os, sys, tempfile, time
from pathlib import Path

folder = tempfile.mkdtemp()
(Path(folder) / "base-model").write_bytes(bytes(1000))
Path(os.environ["CONTROL"], "litter").write_text(folder)
time.sleep(1000)
"""


async def test_what_a_killed_trainer_left_in_its_temporary_folder_goes_with_it(engine: LocalHarness) -> None:
    command = (sys.executable, "-c", _LITTERS)
    executor = LocalExecutor(engine.work_dir, 1, command, {"CONTROL": str(engine.control)})
    spec = engine.spec("a")
    await executor.submit(spec)
    await executor.close()
    written = engine.control / "litter"
    await wait_until(lambda: written.exists() and written.read_text(), 60, "the trainer to litter")
    litter = Path(written.read_text())
    await wait_until((litter / "base-model").exists, 60, "the litter")
    trainer = job_supervisor.read(engine.directory(spec) / job_supervisor.TRAINER)
    assert trainer is not None
    await kill(trainer["pid"])
    await engine.over(spec)
    await wait_until(lambda: not litter.exists(), 60, "its litter to be cleared away")


async def test_a_trainer_without_its_supervisor_goes_on_and_holds_its_slot(engine: LocalHarness) -> None:
    spec, waiting = engine.spec("a"), engine.spec("b")
    executor = engine.executor()
    await executor.submit(spec)
    await executor.submit(waiting)
    await engine.running(spec)
    await kill(engine.supervisor_pid(spec))
    assert await state(executor, spec) == "running"
    assert await state(executor, waiting) == "queued"
    await engine.end(spec, 0)
    await engine_starts(executor, engine, waiting)
    assert await state(executor, spec) == "unknown"


async def test_a_trainer_without_its_supervisor_is_killed_after_its_grace(engine: LocalHarness) -> None:
    spec = engine.spec("a", stubborn=True)
    executor = engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    await kill(engine.supervisor_pid(spec))
    await executor.cancel("a", 1, 60)
    assert await state(executor, spec) == "running"
    await executor.cancel("a", 1, 0)
    await executor.tick()
    await wait_until(lambda: gone(engine.pid(spec)), 60, "the trainer to be killed")
    assert await state(executor, spec) == "unknown"


async def test_the_grace_ends_even_where_the_worker_is_dead(engine: LocalHarness) -> None:
    spec = engine.spec("a", stubborn=True)
    await engine.submit_from_a_worker_that_dies(spec)
    await engine.running(spec)
    # As much as a worker leaves that dies between the wish and its signal. No executor looks from here on.
    job_supervisor.write(engine.directory(spec) / "cancel.json", {"grace_seconds": 0.1})
    await engine.over(spec)
    assert job_supervisor.read(engine.directory(spec) / "exit.json") == {"exit_code": -9}


async def test_a_shorter_grace_holds_and_a_longer_one_does_not(engine: LocalHarness) -> None:
    spec = engine.spec("a", stubborn=True)
    executor = engine.executor()
    await executor.submit(spec)
    await engine.running(spec)
    await executor.cancel("a", 1, 600)
    await executor.cancel("a", 1, 0.2)
    await executor.cancel("a", 1, 600)
    assert job_supervisor.read(engine.directory(spec) / "cancel.json") == {"grace_seconds": 0.2}
    await engine.over(spec)


async def test_kill_all_ends_running_and_queued_jobs_of_every_worker(engine: LocalHarness) -> None:
    specs = [engine.spec(name, stubborn=True) for name in ("a", "b", "c")]
    submitter = engine.executor(slots=2)
    for spec in specs:
        await submitter.submit(spec)
    await engine.running(specs[0])
    await engine.running(specs[1])
    await submitter.close()
    await submitter.close()
    executor = engine.executor(slots=2)
    assert await executor.kill_all()
    assert [await state(executor, spec) for spec in specs] == ["ended"] * 3
    assert gone(engine.pid(specs[0]))
    assert engine.starts(specs[2]) == 0


async def test_threads_are_bounded_and_what_was_given_wins(engine: LocalHarness) -> None:
    spec, other = engine.spec("a"), engine.spec("b")
    cpus = len(os.sched_getaffinity(0))
    executor = engine.executor(slots=cpus + 1)
    await executor.submit(spec)
    await engine.running(spec)
    assert engine.report(spec)[1:3] == ["1", "PASSIVE"]
    given = {"CONTROL": str(engine.control), "OMP_NUM_THREADS": "7"}
    chosen = LocalExecutor(engine.work_dir, 2, STUB, given)
    await chosen.submit(other)
    await engine.running(other)
    assert engine.report(other)[1:3] == ["7", "PASSIVE"]
    await chosen.close()


async def test_an_id_never_leads_out_of_the_directory(engine: LocalHarness) -> None:
    executor = engine.executor()
    await executor.submit(engine.spec(".."))
    assert [path.name for path in engine.jobs.glob("*.1")] == ["%2E..1"]
    with pytest.raises(ValueError, match="not a job id"):
        await executor.status("../a", 1)


async def test_a_command_that_cannot_start_ends_and_says_why(engine: LocalHarness) -> None:
    executor = LocalExecutor(engine.work_dir, 1, ["/no/such/program"])
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.over(spec)
    assert (await executor.status("a", 1)).exit_code == 127
    assert "cannot start /no/such/program" in (await executor.logs("a", 1))[0]
    await executor.close()


async def test_what_a_trainer_leaves_behind_is_killed(tmp_path: Path, engine: LocalHarness) -> None:
    left = tmp_path / "left"
    executor = LocalExecutor(engine.work_dir, 1, ["sh", "-c", f"sleep 1000 & echo $! > {left}; exit 4"])
    spec = engine.spec("a")
    await executor.submit(spec)
    await engine.over(spec)
    assert (await executor.status("a", 1)).exit_code == 4
    await wait_until(lambda: gone(int(left.read_text())), 60, "the child to be killed")
    await executor.close()


async def test_a_locked_or_broken_directory_is_unavailable(
    engine: LocalHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local_jobs, "LOCK_SECONDS", 0.05)
    executor = engine.executor()
    await executor.submit(engine.spec("a"))
    with (engine.work_dir / "jobs" / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="locked"):
            await executor.submit(engine.spec("b"))
        assert await state(executor, engine.spec("a")) == "running"
    (tmp_path / "file").touch()
    broken = LocalExecutor(tmp_path / "file", 1)
    with pytest.raises(Unavailable):
        await broken.submit(engine.spec("a"))
    await broken.close()


# --- slots, GPUs, time -----------------------------------------------------------------------------------------


def asks_for(spec: JobSpec, **resources: int) -> JobSpec:
    return replace(spec, resources=Resources(**resources))


async def test_each_job_sees_the_gpus_of_its_own_slots(engine: LocalHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    executor = engine.executor(slots=4, gpus=("0", "1", "2", "3"))
    specs = [engine.spec("a"), asks_for(engine.spec("b"), gpus=2), asks_for(engine.spec("c"), gpus=1)]
    for spec in specs:
        await executor.submit(spec)
        await engine.running(spec)
    assert [engine.report(spec)[3] for spec in specs] == ["0", "1,2", "3"]
    cpus = len(os.sched_getaffinity(0))
    assert [int(engine.report(spec)[1]) for spec in specs[:2]] == [max(1, cpus // 4), max(1, cpus * 2 // 4)]


async def test_a_job_keeps_its_slot_over_every_worker_s_end(engine: LocalHarness) -> None:
    first = engine.executor(slots=2, gpus=("0", "1"))
    kept, ended, later = engine.spec("kept"), engine.spec("ended"), engine.spec("later")
    await first.submit(ended)
    await first.submit(kept)
    await engine.running(kept)
    await engine.end(ended, 0)
    await engine.over(ended)
    await first.close()
    second = engine.executor(slots=2, gpus=("0", "1"))
    await second.submit(later)
    await engine.running(later)
    assert (engine.report(kept)[3], engine.report(later)[3]) == ("1", "0")


async def test_a_job_for_many_slots_waits_at_the_head_of_the_queue_and_is_not_overtaken(engine: LocalHarness) -> None:
    executor = engine.executor(slots=2, gpus=("0", "1"))
    first, big, small = engine.spec("a"), asks_for(engine.spec("b"), gpus=2), engine.spec("c")
    for spec in (first, big, small):
        await executor.submit(spec)
    assert await executor.status("b", 1) == JobStatus(state="queued", queue_position=1)
    assert await executor.status("c", 1) == JobStatus(state="queued", queue_position=2)
    await engine.end(first, 0)
    await engine_starts(executor, engine, big)
    assert engine.report(big)[3] == "0,1"
    assert engine.starts(small) == 0


async def test_a_job_that_no_slots_could_ever_hold_holds_up_nobody(engine: LocalHarness) -> None:
    executor = engine.executor(slots=1, gpus=("0",))
    big, small = asks_for(engine.spec("a"), gpus=2), engine.spec("b")
    await executor.submit(big)
    await executor.submit(small)
    await engine.running(small)
    assert await state(executor, big) == "queued"


async def test_a_job_whose_time_is_over_may_save_and_its_end_says_so(engine: LocalHarness) -> None:
    executor = engine.executor(slots=2)
    limited, other = asks_for(engine.spec("a"), time_limit_seconds=1), asks_for(engine.spec("b"), time_limit_seconds=60)
    await executor.submit(limited)
    await executor.submit(other)
    await engine.over(limited)
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=0, cause="time-limit")
    assert "saved" in (await executor.logs("a", 1))[0]
    assert await state(executor, other) == "running"
    await engine.end(other, 0)
    await engine.over(other)
    assert await executor.status("b", 1) == JobStatus(state="ended", exit_code=0)


async def test_a_job_that_was_cancelled_before_its_time_was_over_did_not_run_out_of_it(engine: LocalHarness) -> None:
    executor = engine.executor()
    spec = asks_for(engine.spec("a", stubborn=True), time_limit_seconds=2)
    await executor.submit(spec)
    await engine.running(spec)
    await executor.cancel("a", 1, 2.5)
    await engine.over(spec)
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=-9)


async def test_a_job_that_is_forgotten_and_comes_again_is_another_one(engine: LocalHarness) -> None:
    executor, spec = engine.executor(), engine.spec("a")
    await executor.submit(spec)
    await engine.end(spec, 0)
    await engine.over(spec)
    await executor.tick()
    await executor.forget("a", 1)
    (engine.control / "a.1.release").unlink()
    await executor.submit(spec)
    await wait_until(lambda: engine.starts(spec) == 2, 60, "the second start")
    assert await state(executor, spec) == "running"


# --- the queue ---------------------------------------------------------------------------------------------------


async def test_a_submit_looks_at_no_job_that_waits(engine: LocalHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    executor, specs = engine.executor(), [engine.spec(f"{n}") for n in range(40)]
    looked: list[str] = []
    look = LocalJob.state

    def state_of(job: LocalJob) -> JobState:
        looked.append(job.path.name)
        return look(job)

    monkeypatch.setattr(LocalJob, "state", state_of)
    for spec in specs:
        looked.clear()
        await executor.submit(spec)
    assert set(looked) == {"0.1"}
    assert await executor.status("39", 1) == JobStatus(state="queued", queue_position=39)


async def test_an_entry_without_a_job_holds_up_nobody(engine: LocalHarness) -> None:
    executor, first, second = engine.executor(), engine.spec("a"), engine.spec("b")
    await executor.submit(first)
    await engine.running(first)
    # What a worker leaves that is killed between the two.
    (engine.queue / "waiting" / "000000000002.never.1").touch()
    await executor.submit(second)
    assert await executor.status("b", 1) == JobStatus(state="queued", queue_position=1)
    await engine.end(first, 0)
    await engine_starts(executor, engine, second)
    assert list((engine.queue / "waiting").iterdir()) == []


async def test_a_job_whose_starter_was_killed_is_started_by_another_worker_in_its_turn(engine: LocalHarness) -> None:
    first, second, third = (engine.spec(name) for name in ("c", "b", "a"))
    executor = engine.executor()
    for spec in (first, second, third):
        await executor.submit(spec)
    await engine.running(first)
    # What a worker leaves that is killed between taking a job out of the queue and starting it.
    [entry] = (engine.queue / "waiting").glob("*.b.1")
    entry.rename(engine.queue / "started" / entry.name)
    other = engine.executor()
    await engine.end(first, 0)
    await engine_starts(other, engine, second)
    assert engine.starts(third) == 0


async def test_the_order_of_the_queue_is_made_anew_from_the_jobs_where_it_is_lost(engine: LocalHarness) -> None:
    specs = [engine.spec(name) for name in ("c", "b", "a")]
    before = engine.executor()
    for spec in specs:
        await before.submit(spec)
    await engine.running(specs[0])
    shutil.rmtree(engine.queue)
    after = engine.executor()
    await after.submit(engine.spec("d"))
    assert [(await after.status(name, 1)).queue_position for name in ("b", "a", "d")] == [1, 2, 3]
    await engine.end(specs[0], 0)
    await engine_starts(after, engine, specs[1])
    assert [engine.starts(spec) for spec in specs] == [1, 1, 0]
