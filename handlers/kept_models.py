"""The models that have a manifest, and what retention needs to know of each; every manifest is read once."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from contracts.model import Expiry, Kind
from handlers import layout
from handlers.manifests import MANIFEST
from handlers.ports.store import ObjectInfo, ObjectStore


class _Lineage(Struct, frozen=True):
    base_prefix: str = ""


class Facts(Struct, frozen=True, kw_only=True):
    """The part of a manifest that matters here; lineages are long, and are not held in memory."""

    model_id: str
    task_id: str
    project: str
    attempt: int
    step: int
    kind: Kind
    lineage: _Lineage = _Lineage()
    expiry: Expiry | None = None


class KeptModel(NamedTuple):
    """A model, and the keys of all its objects but its manifest."""

    facts: Facts
    files: tuple[str, ...]

    @property
    def needs(self) -> str | None:
        """Return the exported model that this one cannot be loaded without: what an adapter is on."""
        there = self.files and self.facts.kind == "adapter"
        return layout.exported_model(self.facts.lineage.base_prefix) if there else None


class KeptModels:
    """The models of a bucket. What is no model of ours, or cannot be read, is not among them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        #: By key and ETag.
        self._read: Mapping[tuple[str, str], Facts | None] = {}

    async def listed(self) -> list[KeptModel]:
        """Return every model, by name, as it is now. Raises Unavailable."""
        folders: dict[str, list[ObjectInfo]] = {}
        async for info in self._store.list(layout.MODELS):
            folders.setdefault(info.key.split("/")[1], []).append(info)
        found: list[KeptModel] = []
        read: dict[tuple[str, str], Facts | None] = {}
        for folder, infos in folders.items():
            manifest = next((info for info in infos if info.key == f"{layout.MODELS}{folder}/{MANIFEST}"), None)
            if manifest is None:
                continue  # its export is not finished
            facts = read[manifest.key, manifest.etag] = await self._facts(manifest, layout.name_of(folder))
            if facts:
                found.append(KeptModel(facts, tuple(info.key for info in infos if info is not manifest)))
        self._read = read
        return found

    async def _facts(self, manifest: ObjectInfo, model_id: str) -> Facts | None:
        name = (manifest.key, manifest.etag)
        if name in self._read:
            return self._read[name]
        stored = await self._store.get(manifest.key)
        try:
            facts = msgspec.json.decode(stored.body, type=Facts) if stored else None
        except msgspec.MsgspecError:
            return None
        return facts if facts and facts.model_id == model_id else None
