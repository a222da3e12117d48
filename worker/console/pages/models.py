"""Exported models: their files with checksums, whether they are intact, and their download, by file or in one tar."""

import tarfile
from collections.abc import AsyncIterator
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from contracts.model import ModelExported
from handlers.ports.store import ObjectStore
from worker.console.model_files import ModelFile, content, described, is_as_described, not_described
from worker.console.pages.found import nothing, the_model
from worker.console.rendering import console_of, page

_BLOCK = 512


async def model(request: Request) -> Response:
    """Show a model's files."""
    found = the_model(request)
    return page(request, "model.html", model=found, files=await described(console_of(request).store, found))


async def verified(request: Request) -> Response:
    """Read all of a model, and answer which of its files are not as they were exported."""
    found, store = the_model(request), console_of(request).store
    files = await described(store, found)
    changed = [file.path for file in files if not await is_as_described(store, found, file)]
    extra = await not_described(store, found, files)
    return page(request, "verified.html", files=files, changed=changed, extra=extra)


async def checksums(request: Request) -> Response:
    """Answer with the checksums, as ``sha256sum --check`` reads them."""
    files = await described(console_of(request).store, the_model(request))
    return PlainTextResponse("".join(f"{file.sha256}  {file.path}\n" for file in files), headers=_named("SHA256SUMS"))


async def file(request: Request) -> Response:
    """Answer with a file that the manifest names, and no other."""
    found, store = the_model(request), console_of(request).store
    wanted = request.path_params["path"]
    each = next((each for each in await described(store, found) if each.path == wanted), None) or nothing()
    headers = {"Content-Length": str(each.size), **_named(each.path.rpartition("/")[2])}
    return StreamingResponse(content(store, found, each), media_type="application/octet-stream", headers=headers)


async def archive(request: Request) -> Response:
    """Answer with all files in one tar, without holding any of them."""
    found, store = the_model(request), console_of(request).store
    files = await described(store, found)
    return StreamingResponse(
        _tar(store, found, files), media_type="application/x-tar", headers=_named(f"{found.model_id}.tar")
    )


async def _tar(store: ObjectStore, found: ModelExported, files: list[ModelFile]) -> AsyncIterator[bytes]:
    for each in files:
        entry = tarfile.TarInfo(f"{found.model_id}/{each.path}")
        entry.size, entry.mode = each.size, 0o644
        yield entry.tobuf(tarfile.PAX_FORMAT)
        async for chunk in content(store, found, each):
            yield chunk
        yield bytes(-each.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
