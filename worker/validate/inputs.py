"""From what was asked for to files on this machine."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from contracts.strict_json import printable
from handlers.errors import OutsideBucket, Unavailable


class CouldNotCheck(Exception):
    """Nothing can be said about the files. The text names each with its reason."""


class Input(NamedTuple):
    """One file to read. ``name`` is what it is called in findings: always printable, once among its dataset's files."""

    name: str
    path: Path
    size_bytes: int


class Inputs(NamedTuple):
    """The files of one dataset, in order. ``several``: whoever reads a finding must be told which file it is about."""

    files: tuple[Input, ...]
    several: bool


@contextmanager
def opened(asked: Sequence[str]) -> Iterator[Inputs]:
    """Give the files that paths, directories and URIs mean; of a directory, its ``*.jsonl`` by name.

    A URI must lead into the configured bucket; what is not in a directory is copied to a temporary one meanwhile.

    Raises:
        CouldNotCheck: a file is missing, a directory has no files, a URI leads elsewhere, the bucket does not answer.
        SettingsError: there is a URI, and the settings cannot be used.
    """
    with TemporaryDirectory(prefix="validate-") as scratch:
        found: list[Input] = []
        problems: list[str] = []
        for index, each in enumerate(asked):
            try:
                found += _fetched(each, Path(scratch, str(index))) if "://" in each else _local(Path(each))
            except CouldNotCheck as error:
                problems.append(str(error))
        if problems:
            raise CouldNotCheck("\n".join(problems))
        yield Inputs(tuple(found), several=len(asked) > 1 or Path(asked[0]).is_dir())


def _local(path: Path) -> list[Input]:
    try:
        if not path.is_dir():
            return [_input(path)]
        files = sorted(path.glob("*.jsonl"))
        if not files:
            raise CouldNotCheck(f"{printable(str(path))}: no *.jsonl files in this directory")
        return [_input(file) for file in files]
    except OSError as error:
        raise CouldNotCheck(f"{printable(str(error.filename or path))}: {error.strerror}") from error


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

    async with open_store(Settings.from_environment()) as store:
        key = store.key(uri)
        if await store.head(key) is None:
            raise FileNotFoundError(uri)
        if uri.lower().startswith("file:"):
            return Path(path_of(uri))
        path = scratch / Path(key).name
        await store.download(key, path)
        return path
