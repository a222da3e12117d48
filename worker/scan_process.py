"""What a process of the pool does for a scan: read one file of the bucket, or store the findings on all of them."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from contracts.dataset import CheckedFile, DatasetFile, Format
from contracts.datasets.findings import Finding
from handlers.errors import OutsideBucket, PreconditionFailed
from handlers.ports import ObjectInfo, ObjectStore
from handlers.validation.conclusion import ScannedFile
from handlers.validation.report import Capped
from handlers.validation.scan import Scan
from worker.settings import Settings
from worker.storage import open_store

MAX_FILE_BYTES = 2 << 30

#: Bytes fetched at a time; the next are fetched while these are scanned.
CHUNK_BYTES = 4 << 20


class Unreadable(Exception):
    """A file that cannot be read as it was imported. The text is for whoever imported it."""


class ScanJob(Struct, frozen=True, kw_only=True):
    """Scan a file of a dataset and write its findings to a local path."""

    file: DatasetFile
    index: int
    format: Format | Literal["auto"]
    findings_path: str


class StoreJob(Struct, frozen=True, kw_only=True):
    """Join local files of findings, and some more findings, into one object."""

    findings_key: str
    parts: tuple[str, ...]
    added: tuple[Finding, ...]
    whole_path: str


def scan_in_process(settings: Settings, job: ScanJob) -> ScannedFile | str:
    """Scan one file; a text says why it cannot be read. Raises Unavailable where the bucket does not answer."""

    async def scan() -> ScannedFile | str:
        async with open_store(settings) as store:
            try:
                return await scan_file(store, job)
            except Unreadable as error:
                return f"{job.file.uri}: {error}"

    return asyncio.run(scan())


def store_in_process(settings: Settings, job: StoreJob) -> None:
    """Store the findings. Idempotent. Raises Unavailable where the bucket does not answer."""

    async def store_them() -> None:
        async with open_store(settings) as store:
            await asyncio.to_thread(_join, job)
            await store.upload(job.findings_key, Path(job.whole_path))

    asyncio.run(store_them())


async def scan_file(store: ObjectStore, job: ScanJob) -> ScannedFile:
    """Scan one file, pinned to the ETag it has now or has to have.

    Raises:
        Unreadable: it is missing, not in the bucket, too large, or changed since it was imported.
        Unavailable: the bucket does not answer.
    """
    info = await pin(store, job.file)
    capped, encode = Capped(), msgspec.json.Encoder().encode
    with Path(job.findings_path).open("wb") as findings:  # noqa: ASYNC230 - this loop runs nothing else

        def report(finding: Finding) -> None:
            findings.write(encode(finding) + b"\n")
            capped.add(finding)

        scan = Scan(job.format, report, file=job.index)
        async for chunk in chunks(store, info):
            # In a thread, so that the next chunk arrives meanwhile.
            await asyncio.to_thread(scan.feed, chunk)
        result = scan.finish()
    checked = CheckedFile(uri=job.file.uri, etag=info.etag, size_bytes=info.size_bytes, sha256=result.sha256)
    return ScannedFile(checked=checked, result=result, findings=capped.findings())


async def pin(store: ObjectStore, file: DatasetFile) -> ObjectInfo:
    """Return what is known of a file that can be read as it was imported. Raises Unreadable, Unavailable."""
    try:
        info = await store.head(store.key(file.uri))
    except OutsideBucket:
        raise Unreadable("not in this platform's bucket; copy the file into it first") from None
    if info is None:
        raise Unreadable("no such file; upload it again, then import the dataset again")
    # S3 says an ETag in quotes, and who copied it from there may have kept them.
    if file.etag is not None and file.etag.strip('"') != info.etag.strip('"'):
        raise _changed()
    if file.size_bytes not in {None, info.size_bytes}:
        raise Unreadable(
            f"has {info.size_bytes} bytes, but {file.size_bytes} were imported; upload it again, then import it again"
        )
    if info.size_bytes > MAX_FILE_BYTES:
        raise Unreadable(f"has {info.size_bytes} bytes; a file has at most {MAX_FILE_BYTES} (2 GiB): split it")
    return info


async def chunks(store: ObjectStore, info: ObjectInfo) -> AsyncIterator[bytes]:
    """Yield the bytes of a pinned object, the next chunk always on its way. Raises Unreadable, Unavailable."""
    starts = range(0, info.size_bytes, CHUNK_BYTES)
    coming = asyncio.create_task(_chunk(store, info, 0)) if starts else None
    try:
        for start in starts:
            assert coming is not None
            chunk = await coming
            following = start + CHUNK_BYTES
            coming = asyncio.create_task(_chunk(store, info, following)) if following < info.size_bytes else None
            yield chunk
    finally:
        if coming is not None:
            coming.cancel()


async def _chunk(store: ObjectStore, info: ObjectInfo, start: int) -> bytes:
    wanted = (start, min(start + CHUNK_BYTES, info.size_bytes))
    try:
        part = await store.get(info.key, byte_range=wanted, if_match=info.etag)
    except PreconditionFailed:
        raise _changed() from None
    if part is None:
        raise Unreadable("was deleted while it was read; upload it again, then import the dataset again")
    return part.body


def _changed() -> Unreadable:
    return Unreadable("changed since it was imported; import the dataset again")


def _join(job: StoreJob) -> None:
    encode = msgspec.json.Encoder().encode
    with Path(job.whole_path).open("wb") as whole:
        for path in job.parts:
            with Path(path).open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
        whole.writelines(encode(finding) + b"\n" for finding in job.added)
