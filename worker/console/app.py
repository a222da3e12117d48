"""The console's composition root: routes over parts."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from handlers.errors import OutsideBucket, Unavailable
from worker.console.guard import Guard
from worker.console.languages import language_of, translator
from worker.console.pages import datasets, imports, live, models, new_task, operators, session, tasks
from worker.console.parts import Console
from worker.console.rendering import page
from worker.kafka.broker import BrokerUnavailable

_STATIC = Path(__file__).with_name("static")
_SAID = {403: "forbidden", 404: "not-found", 503: "unavailable"}


def create_app(console: Console) -> Starlette:
    """Return the ASGI application over these parts. Nothing is connected here."""
    routes = [
        Route("/", tasks.home),
        Route("/tasks", tasks.tasks, methods=["GET"]),
        Route("/tasks", new_task.submit, methods=["POST"]),
        Route("/tasks/rows", tasks.rows),
        Route("/tasks/new", new_task.new_task),
        Route("/tasks/new/choices", new_task.choices),
        Route("/tasks/new/draft", new_task.draft, methods=["POST"]),
        Route("/tasks/new/faults", new_task.faults, methods=["POST"]),
        Route("/tasks/new/uploads", imports.upload, methods=["POST"]),
        Route("/tasks/new/imports", imports.from_bucket, methods=["POST"]),
        Route("/tasks/new/{task_id}/fee", new_task.fee),
        Route("/tasks/{task_id}", tasks.task),
        Route("/tasks/{task_id}/now", tasks.task_now),
        Route("/tasks/{task_id}/story", tasks.story),
        Route("/tasks/{task_id}/commands", tasks.command, methods=["POST"]),
        Route("/datasets/{project}/{dataset_id}", datasets.dataset),
        Route("/datasets/{project}/{dataset_id}/row", datasets.row),
        Route("/datasets/{project}/{dataset_id}/line", datasets.line),
        Route("/models/{model_id}", models.model),
        Route("/models/{model_id}/verified", models.verified),
        Route("/models/{model_id}/SHA256SUMS", models.checksums),
        Route("/models/{model_id}/archive", models.archive),
        Route("/models/{model_id}/files/{path:path}", models.file),
        Route("/operators/letters", operators.letters),
        Route("/operators/letters/{letter_id}", operators.letter, methods=["GET"]),
        Route("/operators/letters/{letter_id}", operators.settle, methods=["POST"]),
        Route("/operators/replay", operators.replay, methods=["GET"]),
        Route("/operators/replay", operators.run_replay, methods=["POST"]),
        Route("/live", live.live),
        Route("/sign-in", session.sign_in, methods=["GET"]),
        Route("/sign-in", session.check_token, methods=["POST"]),
        Route("/sign-out", session.sign_out, methods=["POST"]),
        Route("/language", session.choose_language, methods=["POST"]),
        Mount("/static", StaticFiles(directory=_STATIC)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=console.access, signer=console.signer)],
        exception_handlers={
            HTTPException: _refused,
            Unavailable: _unavailable,
            BrokerUnavailable: _unavailable,
            OutsideBucket: _nowhere,
        },
    )
    # A path is what it says: an id with a slash at its end is none.
    app.router.redirect_slashes = False
    app.state.console = console
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = translator(language_of(request))(_SAID[error.status_code]) if error.status_code in _SAID else error.detail
    return page(request, "problem.html", status=error.status_code, said=said)


async def _unavailable(request: Request, error: Exception) -> Response:
    return await _refused(request, HTTPException(503, str(error)))


async def _nowhere(request: Request, _: Exception) -> Response:
    return await _refused(request, HTTPException(404))
