"""What the directory store keeps for itself, in ``.store/``: locks, objects being written, digests worth keeping."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from worker.storage.keys import RESERVED

#: Up to here a file is simply read whenever its digest is asked for.
SMALL_BYTES = 256 * 1024
#: File systems stamp times in ticks of some milliseconds: a file changed twice within one looks unchanged. So the
#: digest of a file that somebody may be writing is kept only once its last change is this long ago.
SETTLED_SECONDS = 2.0
#: A draft this old was left by a process that was killed.
ABANDONED_SECONDS = 24 * 3600.0


class Bookkeeping:
    """The directory store's own files. Several processes may share them; all methods block.

    Where the directory is deleted while it is in use, methods raise OSError.
    """

    def __init__(self, root: Path) -> None:
        self._locks = root / RESERVED / "locks"
        self._drafts = root / RESERVED / "drafts"
        self._digests = root / RESERVED / "digests"

    def open(self) -> None:
        """Make the directories and remove what killed processes left. Idempotent."""
        for directory in (self._locks, self._drafts, self._digests):
            directory.mkdir(parents=True, exist_ok=True)
        for draft in self._drafts.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - draft.stat().st_mtime > ABANDONED_SECONDS:
                    draft.unlink()

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold a file's lock: excludes every other holder, in this process and in others. Never nest two.

        One of 256 lock files by the path's digest; they are never removed, so nobody locks a file that is gone.
        """
        with (self._locks / _name(path)[:2]).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Closing would not do where a child forked meanwhile has inherited the descriptor.
                fcntl.flock(lock, fcntl.LOCK_UN)

    @contextmanager
    def draft(self) -> Iterator[BinaryIO]:
        """Open a new file to write an object into; it is gone afterwards unless it was renamed."""
        path = self._drafts / uuid4().hex
        try:
            with path.open("xb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def digest(self, path: Path, file: BufferedReader) -> str:
        """Return the digest of an open file's bytes. Files may be dropped into the directory by anybody, so it is
        computed, and kept for large files as long as inode, size and both times stay the same.
        """
        before = os.fstat(file.fileno())
        if before.st_size > SMALL_BYTES and (kept := self._kept(path, before)):
            return kept
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
        settled = time.time() - max(after.st_ctime, after.st_mtime) > SETTLED_SECONDS
        if settled and _signature(before) == _signature(after):
            # Who only looks, at a bucket that nobody has opened yet, has nowhere to keep it.
            with suppress(FileNotFoundError):
                self.keep(path, file, digest)
        return digest

    def keep(self, path: Path, file: BinaryIO, digest: str) -> None:
        """Remember the digest of a large file, until it changes."""
        stat = os.fstat(file.fileno())
        if stat.st_size > SMALL_BYTES:
            with self.draft() as note:
                note.write(f"{_signature(stat)} {digest}".encode())
                note.flush()
                Path(note.name).replace(self._digests / _name(path))

    def forget(self, path: Path) -> None:
        """Drop what is kept of a file. Idempotent."""
        (self._digests / _name(path)).unlink(missing_ok=True)

    def _kept(self, path: Path, stat: os.stat_result) -> str | None:
        try:
            signature, _, digest = (self._digests / _name(path)).read_text(errors="replace").rpartition(" ")
        except FileNotFoundError:
            return None
        return digest if signature == _signature(stat) else None


def _name(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()


def _signature(stat: os.stat_result) -> str:
    return f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
