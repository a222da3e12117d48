"""Server-sent events: which things changed, never what they are now. Who may see a thing asks for it and is told."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from worker.console.access import Person
from worker.console.changes import Change, Changes
from worker.console.rendering import console_of, person_of
from worker.console.view import View

#: Proxies end connections that are silent for a minute.
_HEARTBEAT_SECONDS = 15.0
#: Between two events of one page: what changes more often is said once.
_REST_SECONDS = 0.4
_RETRY_MS = 2000


async def live(request: Request) -> Response:
    """Tell what changes from now on, or from ``Last-Event-ID`` (``after`` on the first connection) on."""
    view = console_of(request).view
    after = request.headers.get("last-event-id") or request.query_params.get("after") or view.changes.position
    return StreamingResponse(
        _events(view, person_of(request), after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(view: View, person: Person, position: str) -> AsyncIterator[str]:
    changes: Changes = view.changes
    yield f"retry: {_RETRY_MS}\n\n"
    while not changes.closed:
        missed, position_then = changes.since(position), changes.position
        if missed is None:
            yield f"id: {position_then}\nevent: reset\ndata: reset\n\n"
        elif names := told(missed, view, person):
            yield f"id: {position_then}\nevent: changed\ndata: {' '.join(names)}\n\n"
        elif position == position_then:
            yield ": nothing new\n\n"
        position = position_then
        await asyncio.sleep(_REST_SECONDS)
        await changes.wait(position, _HEARTBEAT_SECONDS)


def told(missed: list[Change], view: View, person: Person) -> list[str]:
    """Return the names of what changed, as far as a person may see it. Pure."""
    names: dict[str, None] = {}
    for change in missed:
        task = view.task(change.id) if change.kind == "task" else None
        project = task.project if task else change.project
        if person.may_see(project):
            names[f"{change.kind}:{change.id}"] = None
            if change.kind == "task":
                names["tasks"] = None
    return list(names)
