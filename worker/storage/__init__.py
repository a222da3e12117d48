"""The bucket: a directory on one machine, or S3. Both are the port ObjectStore and pass one conformance suite."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from handlers.ports.store import ObjectStore
from worker.settings import Settings, SettingsError
from worker.storage.directory import DirectoryStore
from worker.storage.file_uri import path_of


@asynccontextmanager
async def open_store(settings: Settings, *, make: bool = True) -> AsyncIterator[ObjectStore]:
    """Open the bucket of ``WORKER_STORAGE_URL`` and close it at the end. Any process may open the same one.

    A directory is made where it is missing, but not without ``make``, for who only looks: there is nothing in it then,
    and a put raises Unavailable. Nothing is asked of S3 yet.

    Raises:
        SettingsError: the URL is neither ``file:///path`` nor ``s3://bucket`` nor ``s3://bucket/prefix``, or the
            directory cannot be made.
    """
    url = settings.storage_url
    scheme = url.partition(":")[0].lower()
    if is_directory(url):
        try:
            store = await asyncio.to_thread(DirectoryStore, directory_of(url), make=make)
        except OSError as error:
            raise SettingsError(f"WORKER_STORAGE_URL is {url}, which cannot be used: {error.strerror}") from error
        yield store
    elif scheme == "s3":
        # A second of imports that a bucket in a directory does not need, in every process that opens it.
        from worker.storage.s3 import open_s3  # noqa: PLC0415 - the reason is above

        async with open_s3(url, endpoint_url=settings.s3_endpoint_url, connections=settings.concurrency) as s3:
            yield s3
    else:
        raise SettingsError(
            f"WORKER_STORAGE_URL is {url!r}: a bucket is file:///path, s3://bucket or s3://bucket/prefix"
        )


def is_directory(url: str) -> bool:
    """Return whether a bucket's URL means a directory of this machine. Pure."""
    return url.partition(":")[0].lower() == "file"


def directory_of(url: str) -> Path:
    """Return the directory that the bucket's file URL means. Raises SettingsError."""
    try:
        return Path(path_of(url))
    except ValueError as error:
        raise SettingsError(f"WORKER_STORAGE_URL cannot be used: {error}") from error
