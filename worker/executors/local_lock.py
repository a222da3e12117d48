"""The lock of the local executor's directory: whoever has it may change what is in it."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK_SECONDS = 0.02


@contextlib.contextmanager
def locked(directory: Path, wait_seconds: float) -> Iterator[bool]:
    """Hold the directory's lock, which dies with this process; yield whether it is held. Makes the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with (directory / ".lock").open("wb") as file:
        while not (held := _taken(file.fileno())) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        yield held


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
