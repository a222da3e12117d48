"""Plain file operations under the stores: whole files only, links never followed. All of them block."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from threading import Event
from typing import BinaryIO
from uuid import uuid4

from worker.storage import keys

_CHUNK_BYTES = 1024 * 1024
_RENAME_TRIES = 100


class Abandoned(Exception):
    """Nobody waits for this stream any more."""


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader | None]:
    """Open a plain file to read, or give None where there is none: a directory or a pipe is no object."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that appears under its name at the end, and not at all where this fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def pour(source: BinaryIO, target: BinaryIO, stop: Event) -> str:
    """Write one file's bytes into another; return their digest. Raises Abandoned soon after ``stop`` is set."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        if stop.is_set():
            raise Abandoned
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def rename(draft: Path, path: Path) -> None:
    """Put a file in the place of another, for good: it is still there after a power cut.

    Raises:
        ValueError: above or at the path are files or directories of other keys.
    """
    for _ in range(_RENAME_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)
            break
        except IsADirectoryError:
            # One without objects is left where somebody died, or was made by hand: it gives way.
            blocked = not _removed(path)
        except (FileNotFoundError, FileExistsError):
            # A delete has just removed the directory, empty until now: mkdir found it and then did not.
            blocked = path.parent.is_file()
        except NotADirectoryError:
            blocked = True
        if blocked:
            raise ValueError(f"{path}: in a directory, no object can be below another")
    else:
        raise OSError(f"{path}: its directory is removed again and again")
    _to_disk(path.parent)


def _to_disk(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path, root: Path) -> None:
    """Remove a file, and the directories up to the root that are empty then. Idempotent; leaves directories alone."""
    if path.is_dir():
        return
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return
    for parent in path.parents:
        if parent == root or not _removed(parent):
            return


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def walk(root: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield key and path of every plain file whose key begins with a prefix, in key order.

    Leaves out what no key can name, symbolic links, and the store's own files.
    """
    above, slash, _ = prefix.rpartition("/")
    start = f"{root}/{above}" if above else str(root)
    if os.path.realpath(start) == start:
        yield from _walk(start, above + slash, prefix)


def _walk(directory: str, above: str, prefix: str) -> Iterator[tuple[str, Path]]:
    for name, entry in _entries(directory):
        key = above + name
        if not key.startswith(prefix[: len(key)]):
            continue
        if name.endswith("/") and key != keys.RESERVED + "/":
            yield from _walk(entry.path, key, prefix)
        elif key.startswith(prefix) and entry.is_file(follow_symlinks=False) and keys.legal_object(key):
            yield key, Path(entry.path)


def _entries(directory: str) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(directory) as entries:
            # Directories sort by their name and a slash: so do the keys below them among their siblings.
            named = [(e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(named, key=lambda item: item[0])
