"""Objects as plain files, blocking: what the directory store does in threads."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import BinaryIO

from handlers.errors import PreconditionFailed, Unavailable
from handlers.ports.store import ObjectInfo, Stored
from worker.storage import files
from worker.storage.bookkeeping import Bookkeeping

#: Judges a put by the object's current ETag, None where there is no object; raises PreconditionFailed.
Check = Callable[[str | None], None]


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the bucket's directory does not answer: {error}") from error


class Objects:
    """The files of a bucket's directory. All methods block, and raise Unavailable where the disk refuses.

    A reader works on the file it opened, which is never written again: it sees one version. A writer makes a file
    beside the bucket and renames it under the lock of its key, inside which the condition of a put is judged too.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._books = Bookkeeping(root)

    @_answering()
    def open(self) -> None:
        """Make what is kept beside the objects, and remove what killed processes left of it. Idempotent."""
        self._books.open()

    @_answering()
    def info(self, key: str, path: Path) -> ObjectInfo | None:
        """Return what is known of a file, or None."""
        with files.opened(path) as file:
            if file is None:
                return None
            return ObjectInfo(key, self._books.digest(path, file), os.fstat(file.fileno()).st_size)

    @_answering()
    def read(self, path: Path, byte_range: tuple[int, int] | None, if_match: str | None) -> Stored | None:
        """Return a file's bytes or a range of them, or None. Raises PreconditionFailed."""
        with files.opened(path) as file:
            if file is None:
                return None
            if byte_range is None and if_match is None:
                body = file.read()
                return Stored(body, sha256(body).hexdigest())
            etag = self._books.digest(path, file)
            if if_match not in (None, etag):
                raise PreconditionFailed(f"{path} is not {if_match} but {etag}")
            first, end = byte_range or (0, None)
            file.seek(first)
            return Stored(file.read(-1 if end is None else end - first), etag)

    @_answering()
    def write(self, path: Path, body: bytes, check: Check | None) -> str:
        """Store bytes, if the check passes; return their ETag."""
        with self._books.draft() as draft:
            draft.write(body)
            return self._place(draft, sha256(body).hexdigest(), path, check)

    @_answering()
    def copy(self, source: Path, target: Path, stop: Event) -> bool:
        """Copy one file over another; return False where there is none."""
        with files.opened(source) as original:
            if original is None:
                return False
            with self._books.draft() as draft:
                self._place(draft, files.pour(original, draft, stop), target)
            return True

    def take_in(self, local: Path, path: Path, stop: Event) -> str:
        """Store a copy of a local file; return its ETag. Raises OSError where that one cannot be opened."""
        with local.open("rb") as original, _answering(), self._books.draft() as draft:
            return self._place(draft, files.pour(original, draft, stop), path)

    @_answering()
    def hand_out(self, path: Path, local: Path, stop: Event) -> bool:
        """Copy a file to a local one; return False where there is none."""
        with files.opened(path) as original:
            if original is None:
                return False
            with files.whole_file(local) as copy:
                files.pour(original, copy, stop)
            return True

    @_answering()
    def remove(self, path: Path) -> None:
        """Remove a file. Idempotent."""
        with self._books.locked(path):
            files.remove(path, self._root)
            self._books.forget(path)

    def found(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is known of the files under a prefix, in key order."""
        with _answering():
            for key, path in files.walk(self._root, prefix):
                info = self.info(key, path)
                if info is not None:
                    yield info

    def _place(self, draft: BinaryIO, digest: str, path: Path, check: Check | None = None) -> str:
        draft.flush()
        os.fsync(draft.fileno())
        with self._books.locked(path):
            if check is not None:
                with files.opened(path) as file:
                    check(None if file is None else self._books.digest(path, file))
            files.rename(Path(draft.name), path)
            self._books.keep(path, draft, digest)
        return digest
