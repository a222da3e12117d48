"""An S3 server over HTTP that can be made wrong in the ways that matter to whoever looks for what is wrong."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import md5

from aiohttp import web

from tests.fakes.http_server import served

BUCKET = "bucket"


class BendableS3:
    """The requests a check makes, on objects in memory. Signatures are not looked at.

    For tests:
        objects: every object, by key.
        ignores: conditions that puts do not care about, as HTTP names them.
        refusal: (status, code) that every request is answered with.
        clock_ahead: how far its clock is ahead of ours.
    """

    def __init__(self, objects: Iterable[str] = ()) -> None:
        self.objects = dict.fromkeys(objects, b"")
        self.ignores: set[str] = set()
        self.refusal: tuple[int, str] | None = None
        self.clock_ahead = timedelta()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port; yields the endpoint's URL."""
        app = web.Application()
        app.router.add_route("*", "/{bucket}", self._on_bucket)
        app.router.add_route("*", "/{bucket}/{key:.*}", self._on_object)
        async with served(app) as url:
            yield url

    async def _on_bucket(self, request: web.Request) -> web.Response:
        if self.refusal:
            return self._refused(*self.refusal)
        if request.method == "HEAD":
            return self._answer()
        prefix = request.query.get("prefix", "")
        found = [key for key in sorted(self.objects) if key.startswith(prefix)]
        entries = "".join(f'<Contents><Key>{key}</Key><ETag>"x"</ETag><Size>0</Size></Contents>' for key in found)
        listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return self._answer(body=listing.encode())

    async def _on_object(self, request: web.Request) -> web.Response:
        if self.refusal:
            return self._refused(*self.refusal)
        key = request.match_info["key"]
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return self._answer(204)
        wanted = {name: value for name, value in request.headers.items() if name not in self.ignores}
        there = self.objects.get(key)
        if ("If-None-Match" in wanted and there is not None) or wanted.get("If-Match", _etag(there)) != _etag(there):
            return self._refused(412, "PreconditionFailed")
        self.objects[key] = await request.read()
        return self._answer(etag=_etag(self.objects[key]))

    def _refused(self, status: int, code: str) -> web.Response:
        return self._answer(status, body=f"<Error><Code>{code}</Code><Message>planted</Message></Error>".encode())

    def _answer(self, status: int = 200, *, body: bytes = b"", etag: str = "") -> web.Response:
        now = format_datetime(datetime.now(UTC) + self.clock_ahead, usegmt=True)
        headers = {"Date": now} | ({"ETag": etag} if etag else {})
        return web.Response(status=status, body=body, headers=headers, content_type="application/xml")


def _etag(body: bytes | None) -> str:
    return "" if body is None else f'"{md5(body, usedforsecurity=False).hexdigest()}"'
