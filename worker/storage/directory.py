"""A bucket that is a directory: one machine, any number of processes, nothing to install.

An object is a plain file at its key's path, replaced as a whole and never written in place; its ETag is the SHA-256 of
its bytes. A file dropped in by hand is an object too. A symbolic link is none, and nothing is below it. What S3 can
and a directory cannot: an object ``a`` beside an object ``a/b``; a put that would need it raises ValueError.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event
from typing import TypeVar

from handlers.errors import OutsideBucket, PreconditionFailed
from handlers.ports.store import ObjectInfo, Stored
from worker.storage import keys
from worker.storage.file_uri import path_of, uri_of
from worker.storage.objects import Objects

Result = TypeVar("Result")

_LISTED_AT_A_TIME = 256
#: Long streams must not take all the threads that short reads and puts need.
_STREAMS = 2


class DirectoryStore:
    """An ObjectStore in a directory. Work on the disk is done in threads; a put is on the disk when it returns.

    A put or delete whose caller is cancelled may still take place; an upload, download or copy ends soon.
    """

    def __init__(self, root: Path, *, make: bool = True) -> None:
        """Use a directory, made where it is missing. Blocks. Raises OSError where that cannot be.

        Without ``make`` one that is missing has nothing in it, and a put raises Unavailable until somebody makes it.
        """
        self._given = os.path.normpath(root.absolute())
        if make or os.path.lexists(self._given):
            Path(self._given).mkdir(parents=True, exist_ok=True)
        self._root = os.path.realpath(self._given)
        self._objects = Objects(Path(self._root))
        if Path(self._root).is_dir():
            self._objects.open()
        self._streams = asyncio.Semaphore(_STREAMS)

    def uri(self, key: str) -> str:
        """Return the file URI of a key, or of a prefix with a slash at its end."""
        return uri_of(f"{self._given}/{keys.check(key)}")

    def key(self, uri: str) -> str:
        """Return the key of a file URI. OutsideBucket for one that leads out, also over a symbolic link."""
        try:
            path = path_of(uri)
            for root in (self._given, self._root):
                if path.startswith(f"{root}/"):
                    key = path.removeprefix(f"{root}/")
                    self._path(key)
                    return key
        except ValueError as error:
            raise OutsideBucket(f"{uri!r} does not lead into {self._given}: {error}") from error
        raise OutsideBucket(f"{uri!r} does not lead into {self._given}")

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object. A large file dropped in by hand is read once, for its ETag."""
        path = self._path(key)
        return None if keys.is_prefix(key) else await asyncio.to_thread(self._objects.info, key, path)

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or a range of it: all from one version of it."""
        path = self._path(key)
        keys.check_range(byte_range)
        if keys.is_prefix(key):
            return None
        return await asyncio.to_thread(self._objects.read, path, byte_range, if_match)

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        """Store an object. Of concurrent conditional puts, in any process, exactly one succeeds."""
        keys.check_conditions(if_none_match, if_match)
        path = self._path(keys.check_object(key))
        conditional = if_none_match or if_match is not None
        check = partial(_check, key, if_match) if conditional else None
        return await asyncio.to_thread(self._objects.write, path, body, check)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield objects in key order. One that comes or goes meanwhile may be in it or not."""
        found = self._objects.found(keys.check_listed(prefix))
        while batch := await asyncio.to_thread(lambda: tuple(islice(found, _LISTED_AT_A_TIME))):
            for info in batch:
                yield info

    async def copy(self, source: str, target: str) -> None:
        """Copy an object, as bytes of its own, in a thread. Raises FileNotFoundError where there is none."""
        copy = partial(self._objects.copy, self._path(source), self._path(keys.check_object(target)))
        if keys.is_prefix(source) or not await self._stream(copy):
            raise FileNotFoundError(f"no object {source}")

    async def delete(self, key: str) -> None:
        """Delete an object, and the directories that are empty then."""
        path = self._path(key)
        if not keys.is_prefix(key):
            await asyncio.to_thread(self._objects.remove, path)

    async def upload(self, key: str, path: Path) -> str:
        """Store a copy of a local file. Raises FileNotFoundError where that one is missing."""
        return await self._stream(partial(self._objects.take_in, path, self._path(keys.check_object(key))))

    async def download(self, key: str, path: Path) -> None:
        """Write an object into a local file: the whole of it or, where this fails, nothing."""
        hand_out = partial(self._objects.hand_out, self._path(key), path)
        if keys.is_prefix(key) or not await self._stream(hand_out):
            raise FileNotFoundError(f"no object {key}")

    def _path(self, key: str) -> Path:
        """Return the path of a key. Raises ValueError for no key, OutsideBucket where a symbolic link is in it."""
        path = f"{self._root}/{keys.check(key).removesuffix('/')}"
        if os.path.realpath(path) != path:
            raise OutsideBucket(f"{key} leads over a symbolic link")
        return Path(path)

    async def _stream(self, work: Callable[[Event], Result]) -> Result:
        stop = Event()
        async with self._streams:
            try:
                return await asyncio.to_thread(work, stop)
            finally:
                stop.set()


def _check(key: str, wanted: str | None, current: str | None) -> None:
    """Raise PreconditionFailed unless an object has the wanted ETag, or is missing where that is None."""
    if current != wanted:
        raise PreconditionFailed(f"{key} has the ETag {current}, not {wanted}")
