"""A bucket that is a directory: one machine, any number of processes, nothing to install.

An object is a plain file at its key's path, replaced as a whole and never written in place; its ETag is the SHA-256 of
its bytes. A file dropped in by hand is an object too. A symbolic link is none, and nothing is below it. What S3 can
and a directory cannot: an object ``a`` beside an object ``a/b``; such a put raises ValueError.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from threading import Event
from typing import BinaryIO, TypeVar

from handlers.errors import OutsideBucket, PreconditionFailed
from handlers.ports import ObjectInfo, Stored
from worker.storage import files, keys
from worker.storage.bookkeeping import Bookkeeping
from worker.storage.file_uri import path_of, uri_of

Result = TypeVar("Result")

_LISTED_AT_A_TIME = 256
_STREAMS = 2


class DirectoryStore:
    """An ObjectStore in a directory; see there for what the methods promise.

    Every method leaves the event loop while it waits for the disk. A put is on the disk when it returns. A cancelled
    put, delete or small copy may still take place.
    """

    def __init__(self, root: Path) -> None:
        """Use a directory, made where it is missing. Blocks. Raises OSError where that cannot be."""
        self._given = Path(os.path.normpath(root.absolute()))
        self._given.mkdir(parents=True, exist_ok=True)
        self._root = self._given.resolve()
        self._books = Bookkeeping(self._root)
        self._books.open()
        # Long streams must not take all the threads that short reads and puts need.
        self._streams = asyncio.Semaphore(_STREAMS)

    def uri(self, key: str) -> str:
        """Return the file URI of a key."""
        return uri_of(f"{self._given}/{keys.check(key)}")

    def key(self, uri: str) -> str:
        """Return the key of a file URI; OutsideBucket for one that leads out, also over a symbolic link."""
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
        """Return what is known of an object. Reads a large file once, to know its digest."""
        path = self._path(key)
        return None if keys.is_prefix(key) else await _off_loop(lambda _: self._info(key, path))

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or a range of it: all from one version of it."""
        path = self._path(key)
        wanted = keys.check_range(byte_range)
        return None if keys.is_prefix(key) else await _off_loop(lambda _: self._read(path, wanted, if_match))

    async def put(
        self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None
    ) -> str:
        """Store an object; of concurrent conditional puts, in any process, exactly one succeeds."""
        if if_none_match and if_match is not None:
            raise ValueError("if_none_match and if_match exclude each other")
        path = self._path(keys.check_object(key))

        def check(current: str | None) -> None:
            if if_none_match and current is not None:
                raise PreconditionFailed(f"{key} exists")
            if if_match is not None and current != if_match:
                raise PreconditionFailed(f"{key} is not {if_match} but {current}")

        def work(_: Event) -> str:
            with files.answering(), self._books.draft() as draft:
                draft.write(body)
                conditional = if_none_match or if_match is not None
                return self._place(draft, files.digest_of(body), path, check if conditional else None)

        return await _off_loop(work)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield objects in key order. One that comes or goes meanwhile may be in it or not."""
        keys.check_listed(prefix)
        found = self._found(prefix)
        while batch := await _off_loop(lambda _: tuple(islice(found, _LISTED_AT_A_TIME))):
            for info in batch:
                yield info

    async def copy(self, source: str, target: str) -> None:
        """Copy an object, as bytes of its own, in a thread. Raises FileNotFoundError where there is none."""
        from_path, to_path = self._path(source), self._path(keys.check_object(target))

        def work(stop: Event) -> bool:
            with files.answering(), files.opened(from_path) as original:
                if original is None:
                    return False
                with self._books.draft() as draft:
                    self._place(draft, files.pour(original, draft, stop), to_path)
                return True

        async with self._streams:
            if keys.is_prefix(source) or not await _off_loop(work):
                raise FileNotFoundError(f"no object {source}")

    async def delete(self, key: str) -> None:
        """Delete an object, and the directories that are empty then."""
        path = self._path(key)

        def work(_: Event) -> None:
            with files.answering(), self._books.locked(path):
                files.remove(path, self._root)
                self._books.forget(path)

        if not keys.is_prefix(key):
            await _off_loop(work)

    async def upload(self, key: str, path: Path) -> str:
        """Store a copy of a local file. Raises FileNotFoundError where that is missing."""
        target = self._path(keys.check_object(key))

        def work(stop: Event) -> str:
            with path.open("rb") as original, files.answering(), self._books.draft() as draft:
                return self._place(draft, files.pour(original, draft, stop), target)

        async with self._streams:
            return await _off_loop(work)

    async def download(self, key: str, path: Path) -> None:
        """Write an object into a local file: the whole of it or, where this fails, nothing."""
        source = self._path(key)

        def work(stop: Event) -> bool:
            with files.opened(source) as original:
                if original is None:
                    return False
                with files.whole_file(path) as local:
                    files.pour(original, local, stop)
                return True

        async with self._streams:
            if keys.is_prefix(key) or not await _off_loop(work):
                raise FileNotFoundError(f"no object {key}")

    def _path(self, key: str) -> Path:
        """Return the path of a key. Raises ValueError for no key, OutsideBucket where a symbolic link is in it."""
        path = f"{self._root}/{keys.check(key).removesuffix('/')}"
        if os.path.realpath(path) != path:
            raise OutsideBucket(f"{key} leads over a symbolic link")
        return Path(path)

    def _info(self, key: str, path: Path) -> ObjectInfo | None:
        with files.answering(), files.opened(path) as file:
            if file is None:
                return None
            return ObjectInfo(key, self._books.digest(path, file), os.fstat(file.fileno()).st_size)

    def _read(self, path: Path, byte_range: tuple[int, int] | None, if_match: str | None) -> Stored | None:
        with files.answering(), files.opened(path) as file:
            if file is None:
                return None
            etag = self._books.digest(path, file) if byte_range or if_match is not None else None
            if if_match not in (None, etag):
                raise PreconditionFailed(f"{path} is not {if_match} but {etag}")
            first, end = byte_range or (0, -1)
            file.seek(first)
            body = file.read(end - first if byte_range else -1)
            return Stored(body, etag or files.digest_of(body))

    def _place(
        self, draft: BinaryIO, digest: str, path: Path, check: Callable[[str | None], None] | None = None
    ) -> str:
        """Make a written draft the object under a path, if ``check`` accepts the current ETag; return the new one."""
        draft.flush()
        os.fsync(draft.fileno())
        with self._books.locked(path):
            if check is not None:
                with files.opened(path) as file:
                    check(None if file is None else self._books.digest(path, file))
            files.rename(Path(draft.name), path)
            self._books.keep(path, draft, digest)
        return digest

    def _found(self, prefix: str) -> "files.Infos":
        with files.answering():
            for key, path in files.walk(self._root, prefix):
                info = self._info(key, path)
                if info is not None:
                    yield info


async def _off_loop(work: Callable[[Event], Result]) -> Result:
    """Run blocking work in a thread. Where the caller is cancelled the event is set, and long work ends soon."""
    stop = Event()
    try:
        return await asyncio.to_thread(work, stop)
    finally:
        stop.set()
