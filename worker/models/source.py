"""Where models are read from: a folder of this machine, or a prefix of a bucket in S3."""

import asyncio
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from contracts.strict_json import printable
from handlers import layout
from handlers.errors import Unavailable
from handlers.ports.store import ObjectStore
from worker.could_not import CouldNot, NotRight
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.file_uri import path_of
from worker.storage.files import whole_file

_ID = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,128}")


class CouldNotRead(CouldNot):
    """Nothing can be said about what was asked for. The text says why, for people."""


class NoSuchModel(NotRight):
    """There is no model where one was asked for. The text says how to find those there are."""


class Listed(NamedTuple):
    """What is there: the size in bytes of every file by its path, and the paths of what is no plain file."""

    sizes: dict[str, int]
    links: tuple[str, ...] = ()


class Source(Protocol):
    """Files below one place. Methods raise CouldNotRead where it does not answer."""

    name: str

    async def listed(self) -> Listed:
        """Return every file there."""
        ...

    async def read(self, path: str) -> bytes | None:
        """Return a small file, or None where there is none."""
        ...

    async def fetch(self, path: str, target: Path) -> None:
        """Copy a file of any size to a local path: the whole of it or nothing. Raises FileNotFoundError."""
        ...


class FolderSource:
    """A folder of this machine. Links are never followed: what they lead to can be changed without a trace."""

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = printable(str(folder)), folder

    async def listed(self) -> Listed:
        """Return every file below the folder."""
        return await asyncio.to_thread(walked, self.folder)

    async def read(self, path: str) -> bytes | None:
        """Return a file's bytes; a link is none."""
        try:
            return self._plain(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CouldNotRead(f"{self.name}/{path}: {error.strerror}") from error

    async def fetch(self, path: str, target: Path) -> None:
        """Copy a file."""
        await asyncio.to_thread(_copied, self._plain(path), target)

    def _plain(self, path: str) -> Path:
        found = self.folder / path
        if found.is_symlink() or not found.is_file():
            raise FileNotFoundError(path)
        return found


class StoreSource:
    """A prefix of a bucket, with its final slash."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.name, self._store, self._prefix = store.uri(prefix), store, prefix

    async def listed(self) -> Listed:
        """Return every object below the prefix."""
        try:
            found = {
                info.key.removeprefix(self._prefix): info.size_bytes async for info in self._store.list(self._prefix)
            }
        except Unavailable as error:
            raise CouldNotRead(str(error)) from error
        return Listed(found)

    async def read(self, path: str) -> bytes | None:
        """Return an object's bytes."""
        try:
            stored = await self._store.get(self._prefix + path)
        except Unavailable as error:
            raise CouldNotRead(str(error)) from error
        return stored.body if stored else None

    async def fetch(self, path: str, target: Path) -> None:
        """Download an object, part by part."""
        try:
            await self._store.download(self._prefix + path, target)
        except Unavailable as error:
            raise CouldNotRead(str(error)) from error


@asynccontextmanager
async def opened(asked: str | None, settings: Settings) -> AsyncIterator[Source]:
    """Open what was asked for: a model's id, a path, or a URI; None is the repository in the bucket of the settings.

    An id is looked for in that bucket. Nothing is made or changed.

    Raises:
        CouldNotRead: there is no such folder, or the bucket does not answer.
        SettingsError: the settings, or the URI, cannot be used.
    """
    model_id = model_id_of(asked) if asked else None
    if asked is None or model_id is not None:
        place = in_bucket(layout.model(model_id) if model_id else layout.MODELS, settings)
    elif "://" in asked:
        place = _of_uri(asked, settings)
    else:
        place = _of_folder(Path(asked))
    async with place as source:
        yield source


def is_id(name: str) -> bool:
    """Return whether something can be the name of a model, a project or a ref."""
    return _ID.fullmatch(name) is not None


def model_id_of(asked: str) -> str | None:
    """Return the model's id that was asked for, None for a path or a URI. A folder of that name wins."""
    return None if not is_id(asked) or Path(asked).is_dir() else asked


def in_bucket(prefix: str, settings: Settings) -> AbstractAsyncContextManager[Source]:
    """Open a prefix, with its final slash, of the bucket of the settings. Raises as :func:`opened` does."""
    if settings.storage_url.lower().startswith("file:"):
        # The bucket must be there; that it has nothing below the prefix yet is no fault.
        return _of_folder(folder_of(settings.storage_url), prefix)
    return _of_uri(f"{settings.storage_url.rstrip('/')}/{prefix}", settings)


@asynccontextmanager
async def _of_folder(folder: Path, below: str = "") -> AsyncIterator[Source]:
    if not await asyncio.to_thread(folder.is_dir):
        raise CouldNotRead(f"{printable(str(folder))}: no such folder")
    yield FolderSource(folder / below)


@asynccontextmanager
async def _of_uri(uri: str, settings: Settings) -> AsyncIterator[Source]:
    scheme, _, rest = uri.partition("://")
    if scheme.lower() == "file":
        async with _of_folder(folder_of(uri)) as folder:
            yield folder
        return
    if scheme.lower() != "s3":
        raise CouldNotRead(f"{printable(uri)}: neither file:// nor s3://")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise CouldNotRead(f"{printable(uri)}: names no bucket")
    # From the bucket's root: a prefix of the settings is no limit on what may be looked at.
    rooted = msgspec.structs.replace(settings, storage_url=f"s3://{bucket}")
    async with open_store(rooted) as store:
        try:
            source = StoreSource(store, prefix.strip("/") + "/")
        except ValueError as error:
            raise CouldNotRead(f"{printable(uri)}: {error}") from error
        yield source


def folder_of(uri: str) -> Path:
    """Return the folder that a file URI means. Raises CouldNotRead."""
    try:
        return Path(path_of(uri))
    except ValueError as error:
        raise CouldNotRead(str(error)) from error


def walked(folder: Path) -> Listed:
    """Return every file below a folder. Blocks. Raises CouldNotRead where a folder cannot be read."""
    if not folder.exists():
        return Listed({})
    sizes: dict[str, int] = {}
    links: list[str] = []

    def refused(error: OSError) -> None:
        raise CouldNotRead(f"{printable(str(error.filename))}: {error.strerror}") from error

    for above, folders, files in os.walk(folder, onerror=refused):
        for name in sorted(files + folders):
            path = Path(above, name)
            status = path.lstat()
            relative = path.relative_to(folder).as_posix()
            if stat.S_ISREG(status.st_mode):
                sizes[relative] = status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                links.append(relative)
    return Listed(sizes, tuple(links))


def _copied(source: Path, target: Path) -> None:
    with source.open("rb") as original, whole_file(target) as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
