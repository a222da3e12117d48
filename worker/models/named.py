"""The model that somebody named, by id, ref, folder or URI: found, or said to be none in one wording for all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from contracts.strict_json import printable
from worker.models.refs import resolved
from worker.models.source import Listed, NoSuchModel, Source, folder_of, model_id_of, opened
from worker.settings import Settings


class NamedModel(NamedTuple):
    """Where a model is and which files are there; ``model_id`` is whose they must be, where an id was named."""

    source: Source
    listed: Listed
    model_id: str | None


@asynccontextmanager
async def named(asked: str, settings: Settings) -> AsyncIterator[NamedModel]:
    """Open a model of which at least something is there. Changes nothing.

    Raises:
        NoSuchModel: there is nothing.
        CouldNotRead: it cannot be reached.
        SettingsError: the settings cannot be used.
    """
    if not asked:
        raise _none("''", "it has no name")  # to a path it would be the working folder
    meant = await resolved(asked, settings)
    model_id = model_id_of(meant)
    if model_id is None and (folder := _folder(meant)) and not await asyncio.to_thread(_is_there, folder):
        raise _none(asked, "no such folder")
    async with opened(meant, settings) as source:
        listed = await source.listed()
        if not listed.sizes and not listed.links:
            raise _none(asked, f"nothing is in {source.name}")
        yield NamedModel(source, listed, model_id)


def _folder(meant: str) -> Path | None:
    """Return the folder of this machine that a path or a URI means, None for one in S3."""
    if "://" not in meant:
        return Path(meant)
    return folder_of(meant) if meant.lower().startswith("file://") else None


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # such a long name has none
        return False


def _none(asked: str, why: str) -> NoSuchModel:
    return NoSuchModel(f"no model {printable(asked)} ({why}); worker models list shows the models there are")
