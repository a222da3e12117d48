"""``GET /live`` and ``GET /ready``, what an orchestrator asks a worker: 200 yes, 503 no, with the report as JSON; and
``GET /metrics``, what Prometheus asks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiohttp import web

from worker.health import Health, Report
from worker.metrics.exposition import Exposition
from worker.settings import SettingsError

log = structlog.get_logger()


@asynccontextmanager
async def answering(health: Health, exposition: Exposition, port: int | None) -> AsyncIterator[None]:
    """Answer on a port of every address (0: a free one, see the log) until the end of the block; None: do not.

    Raises:
        SettingsError: the port cannot be had.
    """
    if port is None:
        yield
        return

    async def live(_: web.Request) -> web.Response:
        report = health.report()
        return _answer(report, yes=report.live)

    async def ready(_: web.Request) -> web.Response:
        report = health.report()
        return _answer(report, yes=report.ready)

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = exposition.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port)
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"WORKER_HEALTH_PORT {port} cannot be used: {error.strerror}") from error
    log.info("health.answering", port=runner.addresses[0][1])
    try:
        yield
    finally:
        await runner.cleanup()


def _answer(report: Report, *, yes: bool) -> web.Response:
    return web.Response(body=msgspec.json.encode(report), status=200 if yes else 503, content_type="application/json")
