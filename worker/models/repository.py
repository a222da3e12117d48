"""What is in a model repository."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from contracts.model import Kind
from contracts.probe import MERGED_FOLDER
from handlers import layout
from handlers.manifests import MANIFEST
from worker.models.lineage import lineage_of
from worker.models.source import Source
from worker.models.verify import read_manifest

#: Manifests that are read at a time.
_AT_A_TIME = 16


class Entry(Struct, frozen=True, kw_only=True):
    """One model. Without a usable manifest it is not ``complete``, and of the rest only its size is known."""

    model_id: str
    complete: bool
    size_bytes: int
    files: int
    project: str | None = None
    task_id: str | None = None
    base_model: str | None = None
    kind: Kind | None = None
    merged: bool = False
    step: int | None = None
    loss: float | None = None
    validation_loss: float | None = None
    expired_at: datetime | None = None
    refs: tuple[str, ...] = ()


async def entries(source: Source, project: str | None = None, refs: Mapping[str, str] | None = None) -> list[Entry]:
    """Return the models of a repository by name, of one project or of all. Raises CouldNotRead.

    ``refs`` are the names that models have, each with the model it means.
    """
    sizes: dict[str, list[int]] = {}
    for path, size in (await source.listed()).sizes.items():
        folder, slash, _ = path.partition("/")
        if slash:
            sizes.setdefault(folder, []).append(size)
    places = asyncio.Semaphore(_AT_A_TIME)

    async def read(folder: str) -> Entry:
        async with places:
            return _entry(folder, sizes[folder], await source.read(f"{folder}/{MANIFEST}"))

    found = await asyncio.gather(*map(read, sorted(sizes)))
    named = [replace(entry, refs=_meaning(entry.model_id, refs or {})) for entry in found]
    return [entry for entry in named if project in (None, entry.project)]


def _meaning(model_id: str, refs: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(ref for ref, meant in refs.items() if meant == model_id))


def _entry(folder: str, sizes: Iterable[int], body: bytes | None) -> Entry:
    sizes = list(sizes)
    manifest = read_manifest(body, layout.name_of(folder)).manifest
    if manifest is None:
        return Entry(model_id=layout.name_of(folder), complete=False, size_bytes=sum(sizes), files=len(sizes))
    lineage = lineage_of(manifest)
    return Entry(
        model_id=manifest.model_id,
        complete=True,
        size_bytes=sum(sizes),
        files=len(sizes),
        project=manifest.project,
        task_id=manifest.task_id,
        base_model=(lineage.base.model_id or lineage.foundation) if lineage else None,
        kind=manifest.kind,
        merged=any(file.path.startswith(f"{MERGED_FOLDER}/") for file in manifest.files),
        step=manifest.step,
        loss=manifest.metrics.get("loss"),
        validation_loss=manifest.metrics.get("validation_loss"),
        expired_at=manifest.expiry.at if manifest.expiry else None,
    )
