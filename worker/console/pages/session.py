"""Signing in with a token, signing out, and the language."""

import time
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from worker.console import guard, languages
from worker.console.form import text
from worker.console.rendering import console_of, page

_YEAR = 31_536_000


async def sign_in(request: Request) -> Response:
    """Ask for a token."""
    return page(request, "sign_in.html", next=_inside(request.query_params.get("next", "")), wrong=False)


async def check_token(request: Request) -> Response:
    """Begin a session with a token that is somebody's."""
    console = console_of(request)
    async with request.form(max_files=0) as fields:
        person = console.access.by_token(text(fields, "token"))
        there = _inside(text(fields, "next"))
    if person is None:
        return page(request, "sign_in.html", status=401, next=there, wrong=True)
    seconds = int(console.settings.session_seconds)
    answer = RedirectResponse(there, 303)
    session = console.signer.session(person.name, int(time.time()) + seconds)
    answer.set_cookie(guard.COOKIE, session, max_age=seconds, httponly=True, samesite="lax", secure=_encrypted(request))
    return answer


async def sign_out(_: Request) -> Response:
    """End the session in this browser."""
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(guard.COOKIE, httponly=True, samesite="lax")
    return answer


async def choose_language(request: Request) -> Response:
    """Remember a language, and go back."""
    async with request.form(max_files=0) as fields:
        language, there = text(fields, "language"), _inside(text(fields, "next"))
    answer = RedirectResponse(there, 303)
    if language in languages.LANGUAGES:
        answer.set_cookie(languages.COOKIE, language, max_age=_YEAR, httponly=True, samesite="lax")
    return answer


def _encrypted(request: Request) -> bool:
    """Return whether the browser came by TLS; of what was in front of us, a trusted proxy says so."""
    peer = request.client.host if request.client else None
    said = request.headers.get("x-forwarded-proto") if console_of(request).access.trusted(peer) else None
    return (said or request.url.scheme) == "https"


def _inside(there: str) -> str:
    """Return a path of ours, or the first page: nobody is led to another site."""
    parts = urlsplit(there)
    ours = there.startswith("/") and not there.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return there if ours and there.isprintable() and "\\" not in there else "/tasks"
