"""The Ray executor beyond the conformance suite, on real heads: crashes of worker and head, grace, limits, sharing."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec
import pytest
from aiohttp import web

from deploy.local.ray import RayHead
from handlers.errors import Unavailable
from handlers.ports.jobs import JobListed, JobSpec, JobStatus, Resources
from tests import ray_servers
from tests.conformance.ray_harness import RayHarness, executor_of
from tests.wait import wait_until
from worker.executors.job_supervisor import alive, identify
from worker.executors.ray import TRAINER_COMMAND, RayExecutor
from worker.executors.remote import SPEC_VARIABLE, engine_name

pytestmark = pytest.mark.skipif(not ray_servers.possible(), reason=f"Ray: {ray_servers.description()}")

UNKNOWN, RUNNING, ENDED = (JobStatus(state=state) for state in ("unknown", "running", "ended"))

#: A worker that cancels a job and dies as soon as a killer is on its way.
DYING_CANCELLER = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.conformance.ray_harness import executor_of

async def die(seconds):
    os.kill(os.getpid(), signal.SIGKILL)

url, token_file, owner, control, job_id, grace = sys.argv[1:]
executor = executor_of(url, Path(token_file), owner, Path(control))
executor._sleep = die
asyncio.run(executor.cancel(job_id, 1, float(grace)))
asyncio.run(die(0))
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    """A head that the tests of this module share, one after the other."""
    with asyncio.Runner() as runner:
        started = RayHead()
        yield runner.run(started.__aenter__())
        runner.run(started.__aexit__(None, None, None))


@pytest.fixture
async def ray(head: RayHead, tmp_path: Path) -> AsyncIterator[RayHarness]:
    harness = RayHarness(head, tmp_path)
    yield harness
    await harness.close()


async def reaches(executor: RayExecutor, spec: JobSpec, wanted: JobStatus) -> None:
    async def there() -> bool:
        return await executor.status(spec.job_id, spec.attempt) == wanted

    await wait_until(there, 60, f"{spec.job_id} to be {wanted}")


@asynccontextmanager
async def before(head: RayHead, taken: asyncio.Event, lost: asyncio.Event) -> AsyncIterator[str]:
    """Stand before a head: what is submitted arrives, and the answer does not. Yields the URL."""

    async def forward(request: web.Request) -> web.StreamResponse:
        async with httpx2.AsyncClient(base_url=head.url, timeout=30, trust_env=False) as client:
            headers = {"Authorization": request.headers["Authorization"]}
            answer = await client.request(
                request.method, request.path_qs, content=await request.read(), headers=headers
            )
        assert answer.is_success
        taken.set()
        await lost.wait()
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    application = web.Application()
    application.router.add_post("/api/jobs/", forward)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        lost.set()
        await runner.cleanup()


async def test_a_worker_that_dies_before_the_answer_has_submitted_one_job(ray: RayHarness) -> None:
    spec, taken = ray.spec("a"), asyncio.Event()
    async with before(ray.head, taken, asyncio.Event()) as url:
        with ray.worker_that_dies(spec, url) as worker:
            await asyncio.wait_for(taken.wait(), 60)
            worker.send_signal(signal.SIGKILL)
    executor = ray.executor()
    await executor.submit(spec)
    await ray.running(spec)
    await ray.end(spec, 4)
    await reaches(executor, spec, JobStatus(state="ended", exit_code=4))
    assert ray.starts(spec) == 1


async def test_a_lost_answer_is_unavailable_and_the_next_try_finds_the_job(ray: RayHarness) -> None:
    spec, lost = ray.spec("a"), asyncio.Event()
    lost.set()
    async with before(ray.head, asyncio.Event(), lost) as url:
        with pytest.raises(Unavailable):
            await ray.executor(url).submit(spec)
    executor = ray.executor()
    await executor.submit(spec)
    with pytest.raises(ValueError, match="another spec"):
        await executor.submit(ray.spec("a", stubborn=True))
    await ray.running(spec)
    assert ray.starts(spec) == 1


@pytest.mark.long
async def test_a_head_that_comes_back_has_lost_its_jobs_and_starts_none_twice(tmp_path: Path) -> None:
    async with RayHead() as head:
        ray = RayHarness(head, tmp_path)
        executor = ray.executor()
        running, waiting, over = ray.spec("running"), ray.spec("waiting"), ray.spec("over")
        await executor.submit(over)
        await ray.running(over)
        await ray.end(over, 5)
        await reaches(executor, over, JobStatus(state="ended", exit_code=5))
        await executor.submit(running)
        await ray.running(running)
        await executor.submit(waiting)
        trainer = identify(ray.pid(running))

        await head.kill()
        with pytest.raises(Unavailable):
            await executor.status("running", 1)
        await wait_until(lambda: not alive(trainer), 60, "the trainer to die with its head")

        await head.start()
        assert await executor.status("running", 1) == UNKNOWN
        assert await executor.status("waiting", 1) == UNKNOWN
        assert await executor.status("over", 1) == JobStatus(state="ended", exit_code=5)
        assert sorted(await executor.jobs()) == [
            JobListed("over", 1, "ended"),
            JobListed("running", 1, "unknown"),
            JobListed("waiting", 1, "unknown"),
        ]
        # Whoever submits or cancels what is lost starts nothing; the next attempt is a job of its own.
        for lost in (running, waiting):
            await executor.submit(lost)
            await executor.cancel(lost.job_id, 1, 1)
        again = ray.spec("running", attempt=2)
        await executor.submit(again)
        await ray.running(again)
        assert await executor.status("running", 2) == RUNNING
        assert (await executor.status("running", 1)).state in ("unknown", "ended")
        assert [ray.starts(spec) for spec in (running, waiting, again)] == [1, 0, 1]
        await ray.close()


async def test_a_queued_job_ends_even_if_the_worker_that_cancelled_it_dies(ray: RayHarness) -> None:
    first, second = ray.spec("a"), ray.spec("b")
    executor = ray.executor()
    await executor.submit(first)
    # Before the other: a head that is busy may begin what came a moment later.
    await ray.running(first)
    await executor.submit(second)
    await _cancel_from_a_worker_that_dies(ray, second, 30)
    await reaches(executor, second, ENDED)
    await ray.end(first, 0)
    await reaches(executor, first, JobStatus(state="ended", exit_code=0))
    assert ray.starts(second) == 0


async def test_a_grace_is_kept_even_if_the_worker_that_gave_it_dies(ray: RayHarness) -> None:
    spec = ray.spec("a", stubborn=True)
    executor = ray.executor()
    await executor.submit(spec)
    await ray.running(spec)
    trainer = identify(ray.pid(spec))
    await _cancel_from_a_worker_that_dies(ray, spec, 0.2)
    await reaches(executor, spec, JobStatus(state="ended", exit_code=-9))
    await wait_until(lambda: not alive(trainer), 60, "the trainer to be killed")


async def _cancel_from_a_worker_that_dies(ray: RayHarness, spec: JobSpec, grace_seconds: float) -> None:
    with _canceller_that_dies(ray, spec, grace_seconds) as worker:
        await wait_until(lambda: worker.poll() is not None, 60, "the worker to die")
    assert worker.returncode == -signal.SIGKILL


def _canceller_that_dies(ray: RayHarness, spec: JobSpec, grace_seconds: float) -> "subprocess.Popen[bytes]":
    arguments = [ray.head.url, str(ray.head.token_file), ray.owner, str(ray.control), spec.job_id, str(grace_seconds)]
    return subprocess.Popen([sys.executable, "-c", DYING_CANCELLER, *arguments])


async def test_a_cancelled_job_saves_within_its_grace(ray: RayHarness) -> None:
    spec = ray.spec("a")
    executor = ray.executor()
    await executor.submit(spec)
    await ray.running(spec)
    await executor.cancel("a", 1, 60)
    await reaches(executor, spec, ray.saved)
    text, _ = await executor.logs("a", 1)
    assert text == "开始\nsaved\n"


@pytest.mark.long
async def test_a_job_over_its_time_is_told_to_end(ray: RayHarness) -> None:
    spec = ray.spec("a", resources=Resources(gpus=1, time_limit_seconds=1))
    executor = ray.executor()
    await executor.submit(spec)
    # 124 is what timeout(1) says.
    await reaches(executor, spec, JobStatus(state="ended", exit_code=124, cause="time-limit"))
    assert (await executor.logs("a", 1))[0] == "开始\nsaved\n"


@pytest.mark.long
async def test_a_job_has_the_gpus_it_asked_for_and_waits_for_those_there_are_not(ray: RayHarness) -> None:
    executor = ray.executor(command=("printenv", "CUDA_VISIBLE_DEVICES", SPEC_VARIABLE))
    spec, big = ray.spec("a"), ray.spec("big", resources=Resources(gpus=2))
    await executor.submit(big)
    await executor.submit(spec)
    await reaches(executor, spec, JobStatus(state="ended", exit_code=0))
    told, _ = await executor.logs("a", 1)
    gpus, told_spec = told.splitlines()
    assert gpus == "0"
    assert msgspec.json.decode(told_spec, type=JobSpec) == spec
    assert await executor.status("big", 1) == JobStatus(state="queued", queue_position=1)
    await executor.cancel("big", 1, 1)
    await reaches(executor, big, ENDED)


@pytest.mark.long
async def test_jobs_without_a_gpu_do_not_wait_for_one(ray: RayHarness) -> None:
    executor = ray.executor()
    on_gpu, on_cpu = ray.spec("a"), ray.spec("b", resources=Resources())
    await executor.submit(on_gpu)
    await executor.submit(on_cpu)
    await ray.running(on_gpu)
    await ray.running(on_cpu)


async def test_a_job_of_several_nodes_is_refused_before_ray_hears_of_it(ray: RayHarness) -> None:
    executor = ray.executor()
    with pytest.raises(ValueError, match=r"2 nodes.*one.*kubernetes and slurm"):
        await executor.submit(ray.spec("a", resources=Resources(gpus=1, nodes=2)))
    assert await executor.jobs() == []


async def test_a_job_that_cannot_be_started_says_why(ray: RayHarness) -> None:
    executor = ray.executor(command=("/no/such/trainer",))
    spec = ray.spec("a")
    await executor.submit(spec)
    await reaches(executor, spec, JobStatus(state="ended", exit_code=127))
    assert "/no/such/trainer" in (await executor.logs("a", 1))[0]


@pytest.mark.long
async def test_services_that_share_a_cluster_see_their_own_jobs_alone(ray: RayHarness) -> None:
    mine, theirs = ray.executor(), executor_of(ray.head.url, ray.head.token_file, "theirs", ray.control)
    spec = ray.spec("a")
    await mine.submit(spec)
    await theirs.submit(ray.spec("a", stubborn=True))
    assert [job[:2] for job in await mine.jobs()] == [("a", 1)]
    await ray.running(spec)
    await theirs.cancel("a", 1, 0)
    await reaches(mine, spec, RUNNING)
    assert await theirs.status("a", 1) == ENDED
    await theirs.close()


async def test_who_is_not_let_in_is_told_so(ray: RayHarness, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong-token"
    wrong.write_text("0" * 64)
    stranger = executor_of(ray.head.url, wrong, "me", ray.control)
    with pytest.raises(Unavailable, match=r"403.*token"):
        await stranger.jobs()
    await stranger.close()


async def test_a_head_of_ours_has_the_trainer(ray: RayHarness) -> None:
    spec = ray.spec("a")
    executor = ray.executor(command=(*TRAINER_COMMAND, "one", "too many"))
    await executor.submit(spec)
    await reaches(executor, spec, JobStatus(state="ended", exit_code=2))
    said, _ = await executor.logs("a", 1)
    assert "usage: python -m worker.trainer" in said


@pytest.mark.long
async def test_what_was_killed_is_forgotten_with_its_killer(ray: RayHarness) -> None:
    first, second = ray.spec("a"), ray.spec("b")
    executor = ray.executor()
    await executor.submit(first)
    # Before the other: a head that is busy may begin what came a moment later.
    await ray.running(first)
    await executor.submit(second)
    await executor.cancel("b", 1, 0)

    async def forgotten() -> bool:
        # Ray's own record follows a second later.
        await executor.forget("b", 1)
        return await executor.status("b", 1) == UNKNOWN

    await wait_until(forgotten, 60, "the job to be forgotten")
    headers = {"Authorization": f"Bearer {ray.head.token_file.read_text()}"}
    async with httpx2.AsyncClient(base_url=ray.head.url, headers=headers, trust_env=False) as client:
        assert engine_name(ray.owner, "b", 1) not in (await client.get("/api/jobs/")).text
    assert alive(identify(ray.pid(first)))
