"""Refs as the command line reads them: ``refs/PROJECT/NAME``, which is also where each is in the bucket."""

from pathlib import Path

import msgspec

from contracts.strict_json import printable
from handlers import layout
from handlers.model_refs import Ref
from worker.models.source import CouldNotRead, NoSuchModel, Source, in_bucket, is_id
from worker.settings import Settings


async def resolved(asked: str, settings: Settings) -> str:
    """Return the id of the model that a ref means now; anything else as it was asked for. A folder of that name wins.

    Raises:
        NoSuchModel: the ref means no model.
        CouldNotRead: it is no ref, or the bucket does not answer.
        SettingsError: the settings cannot be used.
    """
    if not _is_ref(asked):
        return asked
    async with in_bucket(layout.REFS, settings) as source:
        meant = await _meant(source, key_of(asked).removeprefix(layout.REFS))
    if meant is None:
        raise NoSuchModel(f"{asked}: means no model; worker models list shows the refs there are")
    return meant


async def all_refs(settings: Settings) -> dict[str, str]:
    """Return every ref of the bucket that means a model, and which. Raises as :func:`resolved` does."""
    async with in_bucket(layout.REFS, settings) as source:
        found = {layout.REFS + path: await _meant(source, path) for path in (await source.listed()).sizes}
    return {ref: model_id for ref, model_id in found.items() if model_id is not None}


def key_of(ref: str) -> str:
    """Return the key of a ref. Raises CouldNotRead where it is none."""
    match ref.split("/"):
        case ["refs", project, name] if is_id(project) and is_id(name):
            return layout.ref(project, name)
    raise CouldNotRead(f"{printable(ref)}: a ref is refs/PROJECT/NAME")


def _is_ref(asked: str) -> bool:
    return asked.startswith(layout.REFS) and not Path(asked).is_dir()


async def _meant(source: Source, path: str) -> str | None:
    body = await source.read(path)
    try:
        return msgspec.json.decode(body, type=Ref).model_id if body else None
    except msgspec.MsgspecError as error:
        raise CouldNotRead(f"{layout.REFS}{printable(path)}: is no ref: {error}") from error
