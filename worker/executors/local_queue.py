"""The order of the local executor's jobs, so that a submit need not look at all of them. Blocking file access.

    last.json  the number that the last job got
    waiting/   an empty file a job that waits, by its number and its name: the order of names is that of the queue
    started/   the same of a job that was started, until somebody sees that it is over

A job's own directory says what became of it; this only says where to look. An entry comes before its job, and whoever
is killed in between leaves one that leads nowhere. Changed under the executor's lock, save that anybody may take out a
job that ended in the queue.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from worker.executors.job_supervisor import read, write

_FOLDER = ".queue"


class Entry(NamedTuple):
    """A job's number, from 1, and the name of its directory. Lower numbers are first."""

    number: int
    name: str

    @property
    def file(self) -> str:
        """Return the name of the entry's file."""
        return f"{self.number:012d}.{self.name}"


class LocalQueue:
    """What waits and what was started of the jobs in a directory. All of it is on disk: any process sees the same."""

    def __init__(self, jobs: Path) -> None:
        self.jobs, path = jobs, jobs / _FOLDER
        self._last, self._waiting, self._started = path / "last.json", path / "waiting", path / "started"

    @classmethod
    def every(cls, root: Path) -> list[Self]:
        """Return the queues of all namespaces of a directory."""
        return [cls(path.parent) for path in (*root.glob(_FOLDER), *root.glob(f"*/{_FOLDER}"))]

    def prepare(self, known: Iterable[tuple[Entry, str]]) -> None:
        """Make what is missing: the directories, and the entries of jobs that wait or run. ``known`` says which do.

        A power cut may have taken entries and left their jobs. Costs as much as there are jobs: once a process.
        """
        for directory in (self._waiting, self._started):
            directory.mkdir(parents=True, exist_ok=True)
        last = self._number()
        for entry, state in known:
            last = max(last, entry.number)
            if state in ("queued", "running") and not (self._started / entry.file).exists():
                (self._waiting / entry.file).touch()
        write(self._last, {"number": last}, once=False)

    def add(self, name: str) -> Entry:
        """Put a job that is about to be made at the end of the queue."""
        entry = Entry(self._number() + 1, name)
        write(self._last, {"number": entry.number}, once=False)
        (self._waiting / entry.file).touch()
        return entry

    def waiting(self) -> list[Entry]:
        """Return what waits, first come first. Some may have ended since."""
        return _entries(self._waiting)

    def started(self) -> list[Entry]:
        """Return what was started. Some may have ended since, or never have begun."""
        return _entries(self._started)

    def start(self, entry: Entry) -> bool:
        """Take a job out of the queue because it is about to be started; return whether it was still there."""
        return _moved(self._waiting / entry.file, self._started / entry.file)

    def put_back(self, entry: Entry) -> None:
        """Put a job that could not be started where it was."""
        _moved(self._started / entry.file, self._waiting / entry.file)

    def drop(self, entry: Entry) -> None:
        """Take a job out that waits or runs no more. Idempotent."""
        for directory in (self._waiting, self._started):
            (directory / entry.file).unlink(missing_ok=True)

    def _number(self) -> int:
        return int((read(self._last) or {}).get("number", 0))


def _entries(directory: Path) -> list[Entry]:
    try:
        files = sorted(os.listdir(directory))  # noqa: PTH208 - names alone, of a thousand files
    except FileNotFoundError:
        return []
    parts = (file.partition(".") for file in files)
    return [Entry(int(number), name) for number, _, name in parts]


def _moved(source: Path, target: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        source.rename(target)
        return True
    return False
