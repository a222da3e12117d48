"""From what was asked for to files on this machine."""

import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from contracts.strict_json import printable
from handlers.errors import OutsideBucket, Unavailable

#: Standard input, and what it is called in findings.
STDIN = "-"

#: Names of skipped entries that are said.
_NAMES = 5


class CouldNotCheck(Exception):
    """Nothing can be said about the files. The text names each with its reason."""


class Input(NamedTuple):
    """One file to read. ``name`` is what it is called in findings: always printable, once among its dataset's files."""

    name: str
    path: Path
    size_bytes: int


class Inputs(NamedTuple):
    """The files of one dataset, in order. ``several``: whoever reads a finding must be told which file it is about.

    ``skipped`` says, a line each directory, what was in it and is no file of the dataset.
    """

    files: tuple[Input, ...]
    several: bool
    skipped: tuple[str, ...] = ()


@contextmanager
def opened(asked: Sequence[str]) -> Iterator[Inputs]:
    """Give the files that paths, directories and URIs mean; of a directory, its ``*.jsonl`` files by name.

    A URI must lead into the configured bucket. What is not on this machine's disk, and ``-``, standard input, is copied
    to a temporary file meanwhile.

    Raises:
        CouldNotCheck: a file is missing, a directory has no files, a URI leads elsewhere, the bucket does not answer.
        SettingsError: there is a URI, and the settings cannot be used.
    """
    with TemporaryDirectory(prefix="validate-") as scratch:
        found: list[Input] = []
        problems: list[str] = []
        skipped: list[str] = []
        for index, each in enumerate(asked):
            try:
                found += _found(each, Path(scratch, str(index)), skipped)
            except CouldNotCheck as error:
                problems.append(str(error))
        if asked.count(STDIN) > 1:
            problems.append("- is standard input, which can be read once")
        if problems:
            raise CouldNotCheck("\n".join(problems))
        yield Inputs(tuple(found), len(asked) > 1 or Path(asked[0]).is_dir(), tuple(skipped))


def _found(asked: str, scratch: Path, skipped: list[str]) -> list[Input]:
    if not asked:
        raise CouldNotCheck("one of the paths is empty")
    if asked == STDIN:
        return [_standard_input(scratch)]
    if "://" in asked:
        return _fetched(asked, scratch)
    path = Path(asked)
    try:
        if not path.is_dir():
            return [_input(path)]
        # A directory may be called so too; one without files of the dataset is no reason to fail.
        files = [file for file in sorted(path.glob("*.jsonl")) if not file.is_dir()]
        others = sorted(_name(each) for each in path.iterdir() if each not in files and each.name[0] != ".")
    except OSError as error:
        raise CouldNotCheck(f"{printable(str(error.filename or path))}: {error.strerror}") from error
    named = ", ".join(others[:_NAMES]) + (", ..." if len(others) > _NAMES else "")
    if not files:
        instead = f"; there are {named}" if others else ""
        raise CouldNotCheck(f"{printable(asked)}: no *.jsonl files in this directory{instead}")
    if others:
        skipped.append(f"{printable(asked)}: skipped what is no *.jsonl file: {named}")
    return [_input(file) for file in files]


def _name(path: Path) -> str:
    return printable(path.name) + "/" * path.is_dir()


def _standard_input(scratch: Path) -> Input:
    scratch.mkdir()
    path = scratch / "stdin.jsonl"
    with path.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return Input(STDIN, path, path.stat().st_size)


def _input(path: Path) -> Input:
    # A pipe has no size; it can be read once, which is all that finding faults needs.
    return Input(printable(str(path)), path, path.stat().st_size)


def _fetched(uri: str, scratch: Path) -> list[Input]:
    try:
        path = asyncio.run(_fetch(uri, scratch))
    except OutsideBucket:
        raise CouldNotCheck(f"{uri}: not in the bucket that WORKER_STORAGE_URL names") from None
    except FileNotFoundError:
        raise CouldNotCheck(f"{uri}: no such file") from None
    except Unavailable as error:
        raise CouldNotCheck(f"{uri}: {error}") from error
    return [Input(printable(uri), path, path.stat().st_size)]


async def _fetch(uri: str, scratch: Path) -> Path:
    # Half of a command's start, and only a URI needs it.
    from worker.settings import Settings  # noqa: PLC0415 - the reason is above
    from worker.storage import open_store  # noqa: PLC0415 - the same
    from worker.storage.file_uri import path_of  # noqa: PLC0415 - the same

    async with open_store(Settings.from_environment(), make=False) as store:
        key = store.key(uri)
        if await store.head(key) is None:
            raise FileNotFoundError(uri)
        if uri.lower().startswith("file:"):
            return Path(path_of(uri))
        path = scratch / Path(key).name
        await store.download(key, path)
        return path
