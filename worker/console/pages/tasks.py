"""The list of tasks, and a task's own page: curve, commands, outputs, story."""

from typing import Any, get_args, get_type_hints

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from contracts.task import TaskCommand
from handlers import submissions
from worker.console import platform_events
from worker.console.allowed import commands
from worker.console.curve import curve
from worker.console.curve_points import Run
from worker.console.form import text
from worker.console.languages import language_of, translator
from worker.console.missing import missing_in
from worker.console.pages.found import nothing, the_task
from worker.console.rendering import console_of, page, person_of
from worker.console.view import TaskView
from worker.story import UnknownTask, story_of

_MOST_SHOWN = 200
_COMMANDS = frozenset(get_args(get_type_hints(TaskCommand)["command"]))


async def home(_: Request) -> Response:
    """Lead to the tasks."""
    return RedirectResponse("/tasks", 303)


async def tasks(request: Request) -> Response:
    """Show the tasks that may be seen, the newest first."""
    return page(request, "tasks.html", tasks=_seen(request))


async def rows(request: Request) -> Response:
    """Answer with the table of the tasks, to be swapped in."""
    return page(request, "task_rows.html", tasks=_seen(request))


async def task(request: Request) -> Response:
    """Show a task."""
    return page(request, "task.html", **_shown(request, the_task(request)))


async def task_now(request: Request) -> Response:
    """Answer with how a task is now, to be swapped in."""
    return page(request, "task_now.html", **_shown(request, the_task(request)))


async def story(request: Request) -> Response:
    """Answer with a task's story, as ``worker explain`` tells it."""
    found, store = the_task(request), console_of(request).store
    # The bucket has the story of the form that won, whatever another project published under the same id.
    won = await submissions.load(store, found.task_id)
    if won and msgspec.json.decode(bytes(won.form)).get("project", "default") != found.project:
        nothing()
    try:
        told = await story_of(store, found.task_id)
    except UnknownTask:
        told = None
    return page(request, "story.html", story=told)


async def command(request: Request) -> Response:
    """Publish a command of the user's."""
    console, found = console_of(request), the_task(request)
    async with request.form(max_files=0) as fields:
        name = text(fields, "command")
    if name not in _COMMANDS:
        raise HTTPException(400, "no such command")
    await console.publish([platform_events.ordered(found.task_id, found.project, name, console.clock.now())])
    t = translator(language_of(request))
    return page(request, "notice.html", notice=t("ordered", command=t(name)))


def _seen(request: Request) -> list[TaskView]:
    person = person_of(request)
    seen = [task for task in console_of(request).view.tasks() if person.may_see(task.project)]
    return seen[:_MOST_SHOWN]


def _shown(request: Request, found: TaskView) -> dict[str, Any]:
    view = console_of(request).view
    fee = view.fee(found.project, found.task_id)
    return {
        "task": found,
        "buttons": commands(found.status),
        "fee": fee,
        "missing": missing_in(fee, view),
    } | _drawn(view.run(found.task_id))


def _drawn(run: Run) -> dict[str, Any]:
    losses = [(point.step, point.loss) for point in run.points if point.loss is not None]
    validation = [(point.step, point.validation_loss) for point in run.points if point.validation_loss is not None]
    rates = [(point.step, point.learning_rate) for point in run.points if point.learning_rate is not None]
    return {
        "losses": losses,
        "loss_curve": curve([losses, validation]),
        "rate_curve": curve([rates]),
    }
