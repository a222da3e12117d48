"""Plain file operations under the directory store: whole files only, links never followed. All of them block."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import BinaryIO
from uuid import uuid4

from handlers.errors import Unavailable
from worker.storage import keys

_CHUNK_BYTES = 1024 * 1024
_RENAME_TRIES = 100


@contextmanager
def answering() -> Iterator[None]:
    """Turn what the operating system refuses (full, no rights, gone) into Unavailable."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the bucket's directory does not answer: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO | None]:
    """Open a plain file to read, or give None where there is none: a directory or a pipe is no object."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        yield file if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
