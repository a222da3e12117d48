"""Before every page: who is there, whether a page of ours asked for a change, and what browsers may do with it."""

import time
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.console.access import Access, Person
from worker.console.signing import Signer

COOKIE = "console-session"
_SAFE = frozenset({"GET", "HEAD"})
_OPEN = ("/sign-in", "/static/", "/language")

#: Bytes of a form's fields. An upload has a limit of its own, which its page knows.
_MOST_BYTES = 1 << 20
_UPLOADS = "/tasks/new/uploads"

_HEADERS = {
    # No script, style or frame of anybody else's, and none written into a page.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware. Lets a request pass with its ``state.person``, or answers it."""

    def __init__(self, app: ASGIApp, access: Access, signer: Signer) -> None:
        self._app, self._access, self._signer = app, access, signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not request.url.path.startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request.state.person = self._who(request)
        refusal = self._refusal(request, request.state.person)
        await (refusal or self._app)(scope, receive, guarded)

    def _who(self, request: Request) -> Person | None:
        peer = request.client.host if request.client else None
        named = self._access.by_proxy(peer, request.headers)
        if named:
            return named
        name = self._signer.name_of(request.cookies.get(COOKIE, ""), time.time())
        return self._access.by_name(name) if name else None

    def _refusal(self, request: Request, person: Person | None) -> Response | None:
        if request.method not in _SAFE and not self._from_our_page(request):
            return PlainTextResponse("a change must be asked for by a page of this console\n", 403)
        path = request.url.path
        if request.method not in _SAFE and path != _UPLOADS and not self._small(request):
            return PlainTextResponse(f"a form has at most {_MOST_BYTES} bytes, and says how many\n", 413)
        if person is not None or any(path == each or (each[-1] == "/" and path.startswith(each)) for each in _OPEN):
            return None
        there = f"/sign-in?next={quote(path)}"
        if "hx-request" in request.headers:
            return Response(status_code=401, headers={"HX-Redirect": there})
        if request.method not in _SAFE or "text/html" not in request.headers.get("accept", "text/html"):
            return PlainTextResponse("sign in first\n", 401)
        return RedirectResponse(there, 303)

    def _small(self, request: Request) -> bool:
        length = request.headers.get("content-length", "")
        return length.isdecimal() and len(length) < 12 and int(length) <= _MOST_BYTES

    def _from_our_page(self, request: Request) -> bool:
        """Return whether a browser says that the request comes from this very site; one that says nothing does not."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        origin = request.headers.get("origin")
        return origin is not None and urlsplit(origin).netloc in self._hosts(request)

    def _hosts(self, request: Request) -> set[str]:
        hosts = {request.headers.get("host", "")}
        if self._access.trusted(request.client.host if request.client else None):
            hosts.add(request.headers.get("x-forwarded-host", ""))
        return hosts - {""}
