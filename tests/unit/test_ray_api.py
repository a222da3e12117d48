"""What a head's silence and strange answers mean to the Ray adapter."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from handlers.errors import Unavailable
from worker.executors.job_log import LOG_BYTES
from worker.executors.ray_api import RayApi, RayJob

Answering = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def head(answer: Answering, token_file: Path | None = None, seconds: float = 20) -> AsyncIterator[RayApi]:
    """A dashboard that answers every request alike."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api = RayApi(f"http://127.0.0.1:{runner.addresses[0][1]}", token_file, seconds=seconds)
    try:
        yield api
    finally:
        await api.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, "Traceback\n  File\nRuntimeError: no agent\n.\n", "500: RuntimeError: no agent"),
        (502, "<html>Bad Gateway</html>", "502"),
        (403, "Forbidden: Invalid authentication token", "Invalid authentication token"),
        (200, "<html>please log in</html>", "does not answer as Ray does"),
        (200, '{"no": "job"}', "does not answer as Ray does"),
        # Not Ray's word on a job, but that of something before it.
        (404, "404: Not Found", "404"),
    ],
)
async def test_who_does_not_answer_as_ray_does_is_unavailable(status: int, body: str, said: str) -> None:
    async with head(lambda _: web.Response(status=status, text=body)) as api:
        with pytest.raises(Unavailable, match=said):
            await api.job("a")


async def test_no_such_job_is_an_answer() -> None:
    async with head(lambda _: web.Response(status=404, text="Job a does not exist")) as api:
        assert await api.job("a") is None
        await api.stop("a")
        await api.delete("a")


async def test_a_head_that_takes_too_long_and_one_that_is_gone_are_unavailable() -> None:
    released = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api = RayApi(f"http://127.0.0.1:{port}", seconds=0.2)
    with pytest.raises(Unavailable, match="ReadTimeout"):
        await api.jobs()
    released.set()
    server.close()
    await server.wait_closed()
    with pytest.raises(Unavailable, match="ConnectError"):
        await api.jobs()
    await api.close()


async def test_a_token_is_read_anew_and_sent(tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response([])

    file = tmp_path / "token"
    async with head(answer, file) as api:
        with pytest.raises(Unavailable, match="token cannot be read"):
            await api.jobs()
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            await api.jobs()
    assert seen == ["Bearer first", "Bearer second"]


async def test_jobs_that_nobody_submitted_are_none() -> None:
    drivers = [
        {"type": "DRIVER", "submission_id": None, "status": "RUNNING"},
        {"submission_id": "a", "status": "PENDING"},
    ]
    async with head(lambda _: web.json_response(drivers)) as api:
        assert await api.jobs() == [RayJob(submission_id="a", status="PENDING")]


@pytest.mark.parametrize("first_byte", [0, 5, LOG_BYTES - 1, 3 * LOG_BYTES, 4 * LOG_BYTES])
async def test_a_long_log_is_read_a_piece_at_a_time(first_byte: int) -> None:
    log = bytes(range(256)) * (3 * LOG_BYTES // 256)
    async with head(lambda _: web.Response(body=log)) as api:
        piece = await api.log(RayJob(status="RUNNING", submission_id="a", driver_node_id="n"), first_byte)
    assert piece == log[first_byte : first_byte + LOG_BYTES]
