"""Where a command's results go: plain files, and what is none: a device, a pipe, our own standard output."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from worker.storage.files import whole_file

STDOUT = Path("/dev/stdout")


def target_of(text: str) -> Path:
    """Return the path that an option means; ``-`` is standard output, and a file of that name is ``./-``."""
    return STDOUT if text == "-" else Path(text)


def is_stdout(target: Path) -> bool:
    """Return whether what is written there comes out where this process prints, under whatever name."""
    try:
        return os.path.samestat(target.stat(), os.fstat(1))
    except OSError:
        return False


def is_stream(target: Path) -> bool:
    """Return whether what is written there cannot be read again, or is no file to be replaced by another."""
    return is_stdout(target) or (target.exists() and not target.is_file() and not target.is_dir())


@contextmanager
def written(target: Path) -> Iterator[BinaryIO]:
    """Open what a result goes to. A plain file, also behind a link, appears whole or not at all.

    A device, a pipe or standard output is written to, never replaced. Raises OSError.
    """
    if is_stdout(target):
        sys.stdout.flush()
        # Not opened anew: standard output may be a file that others append to.
        with os.fdopen(1, "wb", closefd=False) as stream:
            yield stream
    elif is_stream(target):
        with target.open("wb") as stream:
            yield stream
    else:
        with whole_file(Path(os.path.realpath(target))) as file:
            yield file
