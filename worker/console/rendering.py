"""Pages and pieces of pages from templates, in the language of whoever asked."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from worker.console import shown
from worker.console.access import Person
from worker.console.languages import LANGUAGES, language_of, translator
from worker.console.parts import Console
from worker.console.reasons import fault_in, reason_in


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("worker.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": shown.number,
        "bound": shown.bound,
        "size": shown.size,
        "duration": shown.duration,
        "moment": shown.moment,
        "file_name": shown.file_name,
    }
    environment.globals |= {"reason_in": reason_in, "fault_in": fault_in}
    return environment


_TEMPLATES = _environment()


def console_of(request: Request) -> Console:
    """Return the console's parts."""
    console = request.app.state.console
    assert isinstance(console, Console)
    return console


def person_of(request: Request) -> Person:
    """Return who is there; the guard lets nobody else pass."""
    person = request.state.person
    assert isinstance(person, Person)
    return person


def piece(request: Request, template: str, **values: Any) -> Markup:
    """Return a template as HTML. Everything in ``values`` is escaped where it is put in."""
    language = language_of(request)
    common = {
        "t": translator(language),
        "language": language,
        "languages": LANGUAGES,
        "person": request.state.person,
        "path": request.url.path,
        "position": console_of(request).view.changes.position,
        "caught_up": console_of(request).view.caught_up,
    }
    return Markup(_TEMPLATES.get_template(template).render(common | values))  # noqa: S704 - rendered with autoescape


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Answer with a template."""
    headers = {"Vary": "Cookie, Accept-Language"}
    return HTMLResponse(piece(request, template, **values), status_code=status, headers=headers)
