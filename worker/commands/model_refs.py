"""``worker models tag | untag``."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.output import AsJson, print_json
from worker.settings import Settings

if TYPE_CHECKING:
    from handlers.model_refs import Tagged
    from handlers.ports.store import ObjectStore


def tag(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name; it is one of the model's project.")],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="What it is to mean: a model's id, or another ref.")],
    replaces: Annotated[
        str | None, typer.Option(metavar="ID", help="Only if it means this model until now: nobody was quicker.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Let a name mean a model, from now on.

    refs/PROJECT/NAME is taken wherever a model's id is. A name may mean another model later; nothing else about models
    ever changes. A model that has a name does not expire.

    Exit code 0: it means the model; 1: there is no such model, it expired, or the name means another than --replaces;
    2: it could not be done.

    \b
    Examples:
      worker models tag production task-7-step30-1f2e3d4c
      worker models tag production task-9-step60-5a6b7c8d --replaces task-7-step30-1f2e3d4c
    """
    from handlers import model_refs  # noqa: PLC0415 - what brings much is imported where it is used
    from worker.models.refs import resolved  # noqa: PLC0415 - the same
    from worker.models.source import CouldNotRead, is_id  # noqa: PLC0415 - the same

    settings = Settings.from_environment()

    async def tagged(store: "ObjectStore") -> "Tagged":
        model_id = await resolved(model, settings)
        for each in (name, model_id):
            if not is_id(each):
                raise CouldNotRead(f"{each!r}: ids and names are 1-128 of A-Z a-z 0-9 . _ -")
        return await model_refs.tag(store, name, model_id, replaces=replaces)

    _change(settings, tagged, as_json=json)


def untag(
    ref: Annotated[str, typer.Argument(metavar="REF", help="The name, as refs/PROJECT/NAME.")],
    json: AsJson = False,
) -> None:
    """Let a ref mean no model any more.

    The model stays, and may expire now.

    Exit code 0: it means none; 1: there is no such ref; 2: it could not be done.

    \b
    Example:
      worker models untag refs/poems/production
    """
    from handlers import model_refs  # noqa: PLC0415 - the reason is above
    from worker.models.refs import key_of  # noqa: PLC0415 - the same

    _change(Settings.from_environment(), lambda store: model_refs.untag(store, key_of(ref)), as_json=json)


def _change(settings: Settings, change: Callable[["ObjectStore"], Awaitable["Tagged"]], *, as_json: bool) -> None:
    from handlers.model_refs import CannotTag  # noqa: PLC0415 - the reason is above
    from worker.could_not import NotRight  # noqa: PLC0415 - the same
    from worker.storage import open_store  # noqa: PLC0415 - the same

    async def changed() -> "Tagged":
        async with open_store(settings, make=False) as store:
            return await change(store)

    try:
        done = asyncio.run(changed())
    except CannotTag as error:
        raise NotRight(str(error)) from error
    if as_json:
        print_json({"ref": done.name, "model_id": done.model_id, "before": done.before})
    else:
        typer.echo(f"{done.name}: {done.model_id or 'no model'}, before {done.before or 'no model'}")
