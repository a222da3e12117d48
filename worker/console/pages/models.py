"""Exported models: their files with checksums, and their download, one by one or all in one archive."""

import tarfile
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from contracts.model import ModelExported
from handlers import layout
from handlers.errors import Unavailable
from handlers.ports import ObjectStore
from worker.console.pages.found import nothing, the_model
from worker.console.rendering import console_of, page
from worker.storage import keys

_CHUNK = 4 << 20
_BLOCK = 512


class ModelFile(NamedTuple):
    """A file of a model, as its manifest describes it."""

    path: str
    size: int
    sha256: str


async def model(request: Request) -> Response:
    """Show a model's files."""
    found = the_model(request)
    return page(request, "model.html", model=found, files=await _files(console_of(request).store, found))


async def checksums(request: Request) -> Response:
    """Answer with the checksums, as ``sha256sum --check`` reads them."""
    files = await _files(console_of(request).store, the_model(request))
    return PlainTextResponse("".join(f"{file.sha256}  {file.path}\n" for file in files), headers=_named("SHA256SUMS"))


async def file(request: Request) -> Response:
    """Answer with a file that the manifest names, and no other."""
    found, store = the_model(request), console_of(request).store
    wanted = request.path_params["path"]
    each = next((each for each in await _files(store, found) if each.path == wanted), None) or nothing()
    headers = {"Content-Length": str(each.size), **_named(each.path.rpartition("/")[2])}
    chunks = _bytes(store, _key(store, found, each), each.size)
    return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)


async def archive(request: Request) -> Response:
    """Answer with all files in one tar, without holding any of them."""
    found, store = the_model(request), console_of(request).store
    files = await _files(store, found)
    return StreamingResponse(
        _tar(store, found, files), media_type="application/x-tar", headers=_named(f"{found.model_id}.tar")
    )


async def _files(store: ObjectStore, found: ModelExported) -> list[ModelFile]:
    stored = await store.get(store.key(found.manifest_uri))
    if stored is None:
        return []
    described = msgspec.json.decode(stored.body).get("files", ())
    manifest = ModelFile("manifest.json", len(stored.body), "")
    return [_file(each) for each in described] + [manifest._replace(sha256=layout.sha256_hex(stored.body))]


def _file(described: dict[str, Any]) -> ModelFile:
    """Return a file as a manifest describes it: by size and SHA-256, or as an OCI content descriptor."""
    sha256 = described.get("sha256") or str(described["digest"]).removeprefix("sha256:")
    size = described["size_bytes"] if "size_bytes" in described else described["size"]
    return ModelFile(keys.check_object(described["path"]), int(size), str(sha256))


def _key(store: ObjectStore, found: ModelExported, each: ModelFile) -> str:
    return store.key(found.uri).rstrip("/") + "/" + each.path


async def _bytes(store: ObjectStore, key: str, size: int) -> AsyncIterator[bytes]:
    """Yield an object's bytes, all from one version of it. Raises Unavailable where it has another size."""
    info = await store.head(key)
    if info is None or info.size_bytes != size:
        raise Unavailable(f"{key} is not as its manifest says")
    for at in range(0, size, _CHUNK):
        stored = await store.get(key, byte_range=(at, min(at + _CHUNK, size)), if_match=info.etag)
        if stored is None:
            raise Unavailable(f"{key} is gone")
        yield stored.body


async def _tar(store: ObjectStore, found: ModelExported, files: list[ModelFile]) -> AsyncIterator[bytes]:
    for each in files:
        entry = tarfile.TarInfo(f"{found.model_id}/{each.path}")
        entry.size, entry.mode = each.size, 0o644
        yield entry.tobuf(tarfile.PAX_FORMAT)
        async for chunk in _bytes(store, _key(store, found, each), each.size):
            yield chunk
        yield bytes(-each.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
