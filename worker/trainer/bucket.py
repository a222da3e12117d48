"""The bucket, for synchronous code."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import structlog

from contracts.training import FileDigest
from handlers.errors import Unavailable
from handlers.ports.store import ObjectInfo, ObjectStore
from worker.settings import Settings
from worker.storage import open_store
from worker.trainer.loop_thread import LoopThread

Result = TypeVar("Result")

log = structlog.get_logger()

#: Pauses before another try where the bucket does not answer: hours of training are worth a minute's patience.
_PAUSES = (0.5, 2.0, 5.0, 15.0, 30.0)

_READ_BYTES = 1 << 20


class Bucket:
    """An ObjectStore whose methods block. Each is tried again for a minute before Unavailable is raised."""

    def __init__(self, loop: LoopThread, store: ObjectStore) -> None:
        self.loop, self.store = loop, store

    def uri(self, key: str) -> str:
        """Return the URI of a key or prefix."""
        return self.store.uri(key)

    def key(self, uri: str) -> str:
        """Return the key of a URI. Raises OutsideBucket."""
        return self.store.key(uri)

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, or None where there is none."""
        found = self.patiently(lambda: self.store.get(key))
        return found.body if found else None

    def put(self, key: str, body: bytes) -> FileDigest:
        """Store an object; return its digest under its key."""
        self.patiently(lambda: self.store.put(key, body))
        return FileDigest(key, len(body), sha256(body).hexdigest())

    def upload(self, prefix: str, name: str, path: Path) -> FileDigest:
        """Store a local file, part by part where it is large, under a name below a prefix; return its digest."""
        digest = digest_of(path, name)
        self.patiently(lambda: self.store.upload(prefix + name, path))
        return digest

    def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket. Raises FileNotFoundError where there is no source."""
        self.patiently(lambda: self.store.copy(source, target))

    def listed(self, prefix: str) -> list[ObjectInfo]:
        """Return the objects under a prefix."""
        return self.patiently(lambda: _listed(self.store, prefix))

    def download(self, prefix: str, folder: Path, wanted: Callable[[str], bool]) -> list[str]:
        """Write the wanted objects under a prefix into a folder, and return their names.

        ``wanted`` must refuse names that lead out of the folder.
        """
        names = [info.key.removeprefix(prefix) for info in self.listed(prefix)]
        names = [name for name in names if wanted(name)]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.fetch(prefix + name, folder / name)
        return names

    def fetch(self, key: str, path: Path) -> None:
        """Write an object into a local file. Raises FileNotFoundError where there is none."""
        self.patiently(lambda: self.store.download(key, path))

    def patiently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await what ``work`` makes, anew while the bucket does not answer."""
        return self.loop.run(_patiently(work))


@contextmanager
def open_bucket(settings: Settings) -> Iterator[Bucket]:
    """Open the bucket of the settings in a thread of its own, and close it at the end."""
    with LoopThread("bucket") as loop:
        opened = open_store(settings)
        store = loop.run(opened.__aenter__())
        try:
            yield Bucket(loop, store)
        finally:
            loop.run(opened.__aexit__(None, None, None))


def digest_of(path: Path, name: str | None = None) -> FileDigest:
    """Return a local file's digest under a name; without, under its own."""
    whole, size = sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            whole.update(block)
            size += len(block)
    return FileDigest(name or path.name, size, whole.hexdigest())


async def _patiently(work: Callable[[], Awaitable[Result]]) -> Result:
    for pause in _PAUSES:
        try:
            return await work()
        except Unavailable as error:
            log.warning("bucket.unavailable", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
    return await work()


async def _listed(store: ObjectStore, prefix: str) -> list[ObjectInfo]:
    return [info async for info in store.list(prefix)]
