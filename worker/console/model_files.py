"""The files of an exported model: as its manifest describes them, and as they are in the bucket."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from contracts.model import ModelExported
from handlers import layout
from handlers.errors import PreconditionFailed, Unavailable
from handlers.manifests import MANIFEST
from handlers.ports.store import ObjectStore
from worker.storage import keys

_CHUNK = 4 << 20


class ModelFile(NamedTuple):
    """A file of a model, as its manifest describes it."""

    path: str
    size: int
    sha256: str


class NotAsDescribed(Unavailable):
    """A file that is gone, or is not what the manifest says; the text is for people."""


async def described(store: ObjectStore, found: ModelExported) -> list[ModelFile]:
    """Return the files of a manifest and the manifest itself; none where there is no manifest."""
    stored = await store.get(store.key(found.manifest_uri))
    if stored is None:
        return []
    manifest = ModelFile(MANIFEST, len(stored.body), layout.sha256_hex(stored.body))
    return [_file(each) for each in msgspec.json.decode(stored.body).get("files", ())] + [manifest]


async def content(store: ObjectStore, found: ModelExported, file: ModelFile) -> AsyncIterator[bytes]:
    """Yield a file's bytes, all from one version of it. Raises NotAsDescribed, Unavailable."""
    key = _prefix(store, found) + file.path
    info = await store.head(key)
    if info is None or info.size_bytes != file.size:
        raise NotAsDescribed(f"{key} is not as its manifest says")
    for at in range(0, file.size, _CHUNK):
        stored = await store.get(key, byte_range=(at, min(at + _CHUNK, file.size)), if_match=info.etag)
        if stored is None:
            raise NotAsDescribed(f"{key} is gone")
        yield stored.body


async def is_as_described(store: ObjectStore, found: ModelExported, file: ModelFile) -> bool:
    """Return whether a file has the size and the SHA-256 of its manifest. Reads it whole, and holds none of it."""
    whole = hashlib.sha256()
    try:
        async for chunk in content(store, found, file):
            whole.update(chunk)
    except (NotAsDescribed, PreconditionFailed):
        return False
    return whole.hexdigest() == file.sha256


async def not_described(store: ObjectStore, found: ModelExported, files: list[ModelFile]) -> list[str]:
    """Return the paths of what lies beside a model's files, which its manifest does not name."""
    prefix, named = _prefix(store, found), {file.path for file in files}
    there = [info.key.removeprefix(prefix) async for info in store.list(prefix)]
    return sorted(path for path in there if path not in named)


def _prefix(store: ObjectStore, found: ModelExported) -> str:
    return store.key(found.uri).rstrip("/") + "/"


def _file(said: dict[str, Any]) -> ModelFile:
    """Return a file as a manifest describes it: by size and SHA-256, or as an OCI content descriptor."""
    sha256 = said.get("sha256") or str(said["digest"]).removeprefix("sha256:")
    size = said["size_bytes"] if "size_bytes" in said else said["size"]
    return ModelFile(keys.check_object(said["path"]), int(size), str(sha256))
