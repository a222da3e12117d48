"""Files at hand as a bucket: so a form is priced by the very code of the service, and nothing is imported."""

from pathlib import Path

from handlers.errors import PreconditionFailed
from handlers.ports.store import ObjectInfo, Stored
from worker.storage.directory import DirectoryStore


class BucketAtHand(DirectoryStore):
    """A bucket in a folder of its own, in which files that lie elsewhere are objects, too. They are only read.

    Reading them blocks.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._elsewhere: dict[str, Path] = {}

    def lay_in(self, key: str, path: Path) -> ObjectInfo:
        """Make a file an object, and return what is known of it. Its ETag changes where the file does."""
        self._elsewhere[key] = path
        return _info(key, path)

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object. See ObjectStore."""
        path = self._elsewhere.get(key)
        return _info(key, path) if path else await super().head(key)

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or a range of it. See ObjectStore."""
        path = self._elsewhere.get(key)
        if path is None:
            return await super().get(key, byte_range=byte_range, if_match=if_match)
        now = _info(key, path)
        if if_match not in (None, now.etag):
            raise PreconditionFailed(f"{path} has changed meanwhile")
        first, end = byte_range or (0, now.size_bytes)
        with path.open("rb") as file:
            file.seek(first)
            return Stored(file.read(end - first), now.etag)


def _info(key: str, path: Path) -> ObjectInfo:
    found = path.stat()
    return ObjectInfo(key, f"{found.st_size}-{found.st_mtime_ns}", found.st_size)
