"""The Ray executor where a head does what it rarely does: fails at a killer, writes a log out of order."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from handlers.errors import Unavailable
from handlers.ports.jobs import JobSpec
from worker.executors import ray
from worker.executors.ray import RayExecutor, ray_executor
from worker.executors.remote import engine_name
from worker.settings import Settings, SettingsError

NAME = engine_name("me", "a", 1)
KILLER = f"{NAME}-kill-0"
SPEC = JobSpec(job_id="a", task_id="a", attempt=1, plan_key="p", attempt_prefix="x/")


class Dashboard:
    """Jobs by name. ``next_status`` is what a new one has; ``refuses``: it takes none."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.next_status = "PENDING"
        self.refuses = False
        self.log = b""
        self.submitted: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name")
        if request.method == "POST":
            return self._submit(await request.json())
        if name is None:
            return web.json_response(list(self.jobs.values()))
        if name not in self.jobs:
            return web.Response(status=404, text=f"Job {name} does not exist")
        if request.method == "DELETE":
            return web.json_response({"deleted": self.jobs.pop(name) is not None})
        return web.json_response(self.jobs[name])

    def _submit(self, job: dict[str, Any]) -> web.Response:
        name = job["submission_id"]
        if self.refuses or name in self.jobs:
            return web.Response(status=500, text=f"Traceback\nValueError: no to {name}\n")
        self.submitted.append(name)
        self.jobs[name] = {**job, "status": self.next_status}
        return web.json_response({"submission_id": name})

    async def read_log(self, request: web.Request) -> web.Response:
        assert request.query["filename"] == f"job-driver-{NAME}.log"
        return web.Response(body=self.log)


async def _no_nodes(_: web.Request) -> web.Response:
    return web.json_response({"data": {"result": {"result": []}}})


@pytest.fixture
def dashboard() -> Dashboard:
    return Dashboard()


@pytest.fixture
async def executor(dashboard: Dashboard) -> AsyncIterator[RayExecutor]:
    application = web.Application()
    application.router.add_get("/api/v0/logs/file", dashboard.read_log)
    application.router.add_get("/api/v0/nodes", _no_nodes)
    application.router.add_route("*", "/api/jobs/", dashboard.answer)
    application.router.add_route("*", "/api/jobs/{name}", dashboard.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = RayExecutor(f"http://127.0.0.1:{runner.addresses[0][1]}", lambda _: {}, owner="me", grace_seconds=1.5)
    yield made
    await made.close()
    await runner.cleanup()


async def test_what_ray_refuses_and_does_not_know_is_unavailable(dashboard: Dashboard, executor: RayExecutor) -> None:
    dashboard.refuses = True
    with pytest.raises(Unavailable, match=f"500: ValueError: no to {NAME}"):
        await executor.submit(SPEC)


async def test_a_job_that_somebody_copied_is_nobodys(dashboard: Dashboard, executor: RayExecutor) -> None:
    await executor.submit(SPEC)
    (job,) = dashboard.jobs.values()
    for attempt in ("1-copy", ""):
        dashboard.jobs[f"copy {attempt}"] = {**job, "metadata": job["metadata"] | {"finetune-worker.attempt": attempt}}
    assert [each.attempt for each in await executor.jobs()] == [1]


async def test_a_killer_that_failed_is_sent_again(dashboard: Dashboard, executor: RayExecutor) -> None:
    await executor.submit(SPEC)
    dashboard.next_status = "FAILED"
    with pytest.raises(Unavailable, match="did not do its work"):
        await executor.cancel("a", 1, 30)
    dashboard.next_status = "SUCCEEDED"
    await executor.cancel("a", 1, 30)
    await executor.cancel("a", 1, 30)
    assert dashboard.submitted == [NAME, KILLER, KILLER]


async def test_a_killer_is_not_waited_for_without_end(executor: RayExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "KILLER_SECONDS", 0)
    await executor.submit(SPEC)
    with pytest.raises(Unavailable, match="did not do its work"):
        await executor.cancel("a", 1, 30)


async def test_a_killer_that_ray_does_not_take_is_unavailable(dashboard: Dashboard, executor: RayExecutor) -> None:
    await executor.submit(SPEC)
    dashboard.refuses = True
    with pytest.raises(Unavailable, match="no to"):
        await executor.cancel("a", 1, 30)


@pytest.mark.parametrize("first_reading", range(5))
async def test_rays_own_lines_are_left_out_of_a_log_wherever_they_are(
    dashboard: Dashboard, executor: RayExecutor, first_reading: int
) -> None:
    await executor.submit(SPEC)
    dashboard.jobs[NAME] |= {"status": "RUNNING", "driver_node_id": "n"}
    lines = [
        "2026-01-01 00:00:00,000\tINFO job_manager.py:581 -- Runtime env is setting up.\n",
        "开始\n",
        f"Running entrypoint for job {NAME}: exec python -m worker.trainer\n",
        "step 1: Running entrypoint for job\n",
    ]
    whole = "".join(lines).encode()
    dashboard.log = b"".join(line.encode() for line in lines[:first_reading])
    first, cursor = await executor.logs("a", 1)
    dashboard.log = whole
    second, end = await executor.logs("a", 1, cursor)
    assert first + second == lines[1] + lines[3]
    assert end == len(whole)


async def test_a_job_that_was_never_begun_says_why(dashboard: Dashboard, executor: RayExecutor) -> None:
    await executor.submit(SPEC)
    assert await executor.logs("a", 1) == ("", 0)
    dashboard.jobs[NAME] |= {"status": "FAILED", "message": "runtime_env setup failed: 没有"}
    text, cursor = await executor.logs("a", 1)
    assert text == "runtime_env setup failed: 没有"
    assert await executor.logs("a", 1, cursor) == ("", cursor)


async def test_the_grace_is_whole_seconds_and_the_trainer_no_child_of_a_shell(
    dashboard: Dashboard, executor: RayExecutor
) -> None:
    await executor.submit(SPEC)
    assert dashboard.jobs[NAME]["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "2"}
    assert dashboard.jobs[NAME]["entrypoint"] == "exec python -m worker.trainer"


def test_settings_without_an_address_describe_no_executor() -> None:
    with pytest.raises(SettingsError, match="WORKER_RAY_ADDRESS"):
        ray_executor(Settings())
