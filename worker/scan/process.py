"""What a process of the pool does for a scan: read a file of the bucket or a part of it, or conclude on all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from contracts.dataset import DatasetFile, DeclaredFormat
from handlers.errors import OutsideBucket, PreconditionFailed
from handlers.ports.store import ObjectInfo, ObjectStore
from handlers.validation.opening import Decision
from handlers.validation.report import Report
from handlers.validation.scan import Scan
from worker.scan.conclusion import FileScan, concluded
from worker.scan.parts import Part, PartScan, ScannedPart
from worker.settings import Settings
from worker.storage import open_store

MAX_FILE_BYTES = 2 << 30

#: Bytes fetched at a time; the next are fetched while these are scanned.
CHUNK_BYTES = 4 << 20

Result = TypeVar("Result")


class Unreadable(Exception):
    """A file that cannot be read as it was imported. The text is for whoever imported it."""


class ScanJob(Struct, frozen=True, kw_only=True):
    """Scan a part of a file. The whole of it is hashed on the way; of a part there is nothing to hash."""

    file: DatasetFile
    part: Part


class Scanned(Struct, frozen=True, kw_only=True):
    """What was scanned, and of which bytes. ``sha256`` is empty where they were not the whole file."""

    part: ScannedPart
    etag: str
    size_bytes: int
    sha256: str


class Hashed(Struct, frozen=True, kw_only=True):
    """The SHA-256 (hex) of a file."""

    sha256: str


class ConcludeJob(Struct, frozen=True, kw_only=True):
    """Conclude on the files of a dataset and store the findings. ``directory`` is a local one for what it writes."""

    digest: str
    format: DeclaredFormat
    files: tuple[FileScan, ...]
    findings_key: str
    directory: str


def scan_in_process(settings: Settings, job: ScanJob) -> Scanned | str:
    """Scan a part; a text says why it cannot be read. Raises Unavailable where the bucket does not answer."""
    return _run(settings, lambda store: scan_part(store, job))


def decide_in_process(settings: Settings, job: ScanJob) -> Decision | str:
    """Return what the beginning of a file says; a text says why it cannot be read. Raises Unavailable."""
    return _run(settings, lambda store: decide(store, job))


def hash_in_process(settings: Settings, job: ScanJob) -> Hashed | str:
    """Hash a file of which other processes scan the parts; a text says why it cannot be read. Raises Unavailable."""

    async def hash_it(store: ObjectStore) -> Hashed:
        whole = sha256()
        async for chunk in chunks(store, await pin(store, job.file)):
            await asyncio.to_thread(whole.update, chunk)
        return Hashed(sha256=whole.hexdigest())

    return _run(settings, hash_it)


def conclude_in_process(settings: Settings, job: ConcludeJob) -> Report:
    """Return the report, all findings stored. Idempotent. Raises Unavailable where the bucket does not answer."""
    directory = Path(job.directory)
    found = concluded(job.digest, job.format, job.files, directory)
    path = directory / "findings.ndjson"
    with path.open("wb") as whole:
        whole.writelines(found.findings())

    async def store_them() -> None:
        async with open_store(settings) as store:
            await store.upload(job.findings_key, path)

    asyncio.run(store_them())
    return found.conclusion.report


def _run(settings: Settings, work: Callable[[ObjectStore], Coroutine[Any, Any, Result]]) -> Result | str:
    async def with_store() -> Result | str:
        async with open_store(settings) as store:
            return await work(store)

    try:
        return asyncio.run(with_store())
    except Unreadable as error:
        return str(error)


async def scan_part(store: ObjectStore, job: ScanJob) -> Scanned:
    """Scan a part of a file, pinned to the ETag it has now or has to have.

    Raises:
        Unreadable: it is missing, not in the bucket, too large, or changed since it was imported.
        Unavailable: the bucket does not answer.
    """
    info = await pin(store, job.file)
    is_whole = job.part.first == 0 and job.part.end is None
    digest = sha256()
    with PartScan(job.part) as scan:
        async for chunk in chunks(store, info, scan.reads_from):
            # In threads, so that the next chunk arrives meanwhile; hashing does not hold up scanning.
            hashing = asyncio.to_thread(digest.update, chunk) if is_whole else asyncio.sleep(0)
            await asyncio.gather(asyncio.to_thread(scan.feed, chunk), hashing)
            if scan.done:
                break
        found = scan.finish()
    return Scanned(
        part=found, etag=info.etag, size_bytes=info.size_bytes, sha256=digest.hexdigest() if is_whole else ""
    )


async def decide(store: ObjectStore, job: ScanJob) -> Decision:
    """Return what a file is to be read as: only its beginning is read. Raises Unreadable, Unavailable."""
    scan = Scan(job.part.format, lambda _: None)
    async for chunk in chunks(store, await pin(store, job.file)):
        await asyncio.to_thread(scan.feed, chunk)
        if scan.decision is not None:
            return scan.decision
    scan.finish()
    return scan.decision or Decision(None)


async def pin(store: ObjectStore, file: DatasetFile) -> ObjectInfo:
    """Return what is known of a file that can be read as it was imported. Raises Unreadable, Unavailable."""
    try:
        info = await store.head(store.key(file.uri))
    except OutsideBucket:
        raise _unreadable(file, "not in this platform's bucket; copy the file into it first") from None
    if info is None:
        raise _unreadable(file, "no such file; upload it again, then import the dataset again")
    # S3 says an ETag in quotes, and who copied it from there may have kept them.
    if file.etag is not None and file.etag.strip('"') != info.etag.strip('"'):
        raise _unreadable(file, _CHANGED)
    if file.size_bytes not in {None, info.size_bytes}:
        text = (
            f"has {info.size_bytes} bytes, but {file.size_bytes} were imported; upload it again, then import it again"
        )
        raise _unreadable(file, text)
    if info.size_bytes > MAX_FILE_BYTES:
        raise _unreadable(file, f"has {info.size_bytes} bytes; a file has at most {MAX_FILE_BYTES} (2 GiB): split it")
    return info


async def chunks(store: ObjectStore, info: ObjectInfo, first: int = 0) -> AsyncIterator[bytes]:
    """Yield the bytes of a pinned object from ``first`` on, the next chunk always on its way.

    Raises Unreadable, Unavailable.
    """
    starts = range(first, info.size_bytes, CHUNK_BYTES)
    coming = asyncio.create_task(_chunk(store, info, first)) if starts else None
    try:
        for start in starts:
            assert coming is not None
            chunk = await coming
            following = start + CHUNK_BYTES
            coming = asyncio.create_task(_chunk(store, info, following)) if following < info.size_bytes else None
            yield chunk
    finally:
        if coming is not None and coming.cancel():
            with suppress(asyncio.CancelledError):
                await coming


async def _chunk(store: ObjectStore, info: ObjectInfo, start: int) -> bytes:
    wanted = (start, min(start + CHUNK_BYTES, info.size_bytes))
    try:
        part = await store.get(info.key, byte_range=wanted, if_match=info.etag)
    except PreconditionFailed:
        raise Unreadable(f"{store.uri(info.key)}: {_CHANGED}") from None
    if part is None:
        text = "was deleted while it was read; upload it again, then import the dataset again"
        raise Unreadable(f"{store.uri(info.key)}: {text}")
    return part.body


_CHANGED = "changed since it was imported; import the dataset again"


def _unreadable(file: DatasetFile, reason: str) -> Unreadable:
    return Unreadable(f"{file.uri}: {reason}")
