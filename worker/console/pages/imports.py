"""Bringing a dataset in, by upload or from the bucket. Only ever under the project's own prefix."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from handlers import layout
from handlers.planning.build import FORMATS
from handlers.ports.store import ObjectInfo, ObjectStore
from worker.console import platform_events
from worker.console.form import form_of, text
from worker.console.languages import language_of, translator
from worker.console.pages.found import own_task
from worker.console.parts import Console
from worker.console.rendering import console_of, page
from worker.console.view import DatasetView

_MOST_FILES = 20
_MOST_LISTED = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._\u4e00-\u9fff-]+")


#: Returns the keys of a dataset's files, given what was sent, its role, a prefix for new files and the project's own.
_Bring = Callable[[Console, FormData, str, str, str], Awaitable[list[str]]]


class NotImportable(ValueError):
    """Files that make no dataset; the text is a key of the table of texts."""


def prefix_of(project: str) -> str:
    """Return where a project's files are, and nobody else's."""
    return f"uploads/{layout.segment(project)}/"


async def importable(console: Console, project: str) -> list[ObjectInfo]:
    """Return the JSONL files that a project has in the bucket, as many as a page can offer."""
    found = []
    async for info in console.store.list(prefix_of(project)):
        if info.key.endswith(".jsonl"):
            found.append(info)
        if len(found) == _MOST_LISTED:
            break
    return found


async def upload(request: Request) -> Response:
    """Put uploaded files into the bucket and say that a dataset was imported."""
    limit = console_of(request).settings.upload_bytes
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or len(length) > 18 or int(length) > limit:
        raise HTTPException(413, f"an upload has at most {limit} bytes, and says how many")
    return await _import(request, _uploaded)


async def from_bucket(request: Request) -> Response:
    """Say that a dataset was imported whose file is in the bucket already."""
    return await _import(request, _there)


async def _import(request: Request, bring: _Bring) -> Response:
    console = console_of(request)
    async with request.form(max_files=_MOST_FILES) as fields:
        task_id, project = own_task(request, fields)
        dataset_id = console.signer.new_id("dataset", project)
        role = "validation_set" if text(fields, "role") == "validation_set" else "training_set"
        try:
            keys = await bring(console, fields, role, f"{prefix_of(project)}{dataset_id}/", prefix_of(project))
        except NotImportable as error:
            t = translator(language_of(request))
            return page(request, "import_refused.html", status=422, role=role, why=t(str(error)))
        form = form_of(fields, task_id, project)
    if role == "training_set":
        form["training_set"].append({"dataset_id": dataset_id})
    uris = tuple(console.store.uri(key) for key in keys)
    now = console.clock.now()
    # A validation set is not priced, so its import carries no draft that would.
    priced = form if role == "training_set" else None
    said = platform_events.imported(dataset_id, project, uris, FORMATS.get(form["training_type"]), priced, now)
    await console.publish([said])
    dataset = DatasetView(dataset_id=dataset_id, project=project, uris=uris, imported_at=now)
    return page(request, "imported.html", dataset=dataset, role=role, state="counting", fee=None, findings=())


async def _uploaded(console: Console, fields: FormData, role: str, target: str, _: str) -> list[str]:
    files = [each for each in fields.getlist(f"{role}.files") if isinstance(each, UploadFile) and each.filename]
    if not files:
        raise NotImportable("no-files")
    if len(files) > _MOST_FILES:
        raise NotImportable("too-many-files")
    if not all((each.filename or "").lower().endswith(".jsonl") for each in files):
        raise NotImportable("not-jsonl")
    keys = []
    for number, file in enumerate(files, start=1):
        name = _UNSAFE.sub("_", Path(file.filename or "").name)[-80:]
        # A folder each: two files may have one name, and people know a file by the name that they gave it.
        keys.append(f"{target}{number:02}/{name}")
        await _store(console.store, keys[-1], file)
    return keys


async def _store(store: ObjectStore, key: str, file: UploadFile) -> None:
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
        await asyncio.to_thread(shutil.copyfileobj, file.file, copy, 1 << 20)
        copy.flush()
        await store.upload(key, Path(copy.name))


async def _there(console: Console, fields: FormData, role: str, _: str, own: str) -> list[str]:
    key = text(fields, f"{role}.object")
    # A key of the listing, or none: a prefix alone would let "uploads/mine/../theirs" pass in a bucket that folds it.
    if not key.startswith(own) or not key.endswith(".jsonl") or ".." in key.split("/"):
        raise NotImportable("no-files")
    try:
        found = await console.store.head(key)
    except ValueError:
        found = None
    if found is None:
        raise NotImportable("no-files")
    return [key]
