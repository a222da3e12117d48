"""A proxy before the S3 server that refuses, hangs up, and loses the answers to puts that succeeded."""

import asyncio
import random
from io import BytesIO
from types import TracebackType
from typing import Self

from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from yarl import URL

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>chaos</Message></Error>"
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
_LARGEST = 1 << 26
#: How long a request that hangs is silent before its connection goes.
HANGING_SECONDS = 4.0


class FaultyS3:
    """``async with FaultyS3(server_url, seed) as proxy:`` - ``proxy.url`` is what clients are given.

    ``rate`` is the share of requests that go wrong, each kind as often as the others; 0 lets all through. A request's
    Host and path stay as they came, because they are signed. ``seen`` counts what went wrong, by kind.
    """

    def __init__(self, upstream: str, seed: int) -> None:
        self.rate = 0.0
        self.requests = 0
        self.seen = {"refused": 0, "hung": 0, "answer-lost": 0}
        self._upstream = upstream
        self._random = random.Random(seed)  # noqa: S311 - a story that can be told again
        self.url = ""

    async def __aenter__(self) -> Self:
        self._client = ClientSession(
            connector=TCPConnector(limit=0), cookie_jar=DummyCookieJar(), auto_decompress=False
        )
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._client.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._pass)
        return app

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        fault = self._random.choice(list(self.seen)) if self._random.random() < self.rate else None
        if fault == "answer-lost" and request.method not in ("PUT", "POST", "DELETE"):
            fault = "hung"
        try:
            body = await request.read()
        except ConnectionError:  # who asked was killed meanwhile
            return self._hang_up(request)
        if fault:
            self.seen[fault] += 1
        if fault == "refused":
            return web.Response(status=503, body=_SLOW_DOWN, content_type="application/xml")
        if fault == "hung":
            await asyncio.sleep(HANGING_SECONDS)
            return self._hang_up(request)
        try:
            async with self._client.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers={name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP},
                data=BytesIO(body) if body else None,  # of plain bytes above a megabyte aiohttp warns, and tests raise
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                allow_redirects=False,
            ) as answer:
                said = await answer.read()
                headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
        except OSError:  # the server is down just now
            return self._hang_up(request)
        if fault == "answer-lost":
            return self._hang_up(request)
        response = web.Response(status=answer.status, headers=headers)
        if request.method != "HEAD":  # whose answer states a length and has no body
            response.body = said
        return response

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        if request.transport is not None:  # else the client hung up first
            request.transport.abort()
        return web.Response(status=500)
