"""Getting a model out of the repository: whole and verified under its name, or not at all."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from contracts.model import Descriptor, Manifest
from contracts.strict_json import printable
from handlers.manifests import MANIFEST
from worker.models.named import named
from worker.models.progress import Progress
from worker.models.source import CouldNotRead, Source, walked
from worker.models.verify import Problem, check_file, if_expired, read_manifest, unlisted
from worker.settings import Settings


class Broken(Exception):
    """What is in the repository is not what its manifest says."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{each.path}: {each.message}" for each in problems))
        self.problems = problems


class Downloaded(Struct, frozen=True, kw_only=True):
    """A model that is on this machine now. ``fetched_bytes`` came in this run, the rest in earlier ones."""

    model_id: str
    path: str
    files: int
    size_bytes: int
    fetched_bytes: int


async def download(asked: str, settings: Settings, *, to: Path | None, progress: Progress) -> Downloaded:
    """Bring a model into a new folder, ``to`` or one of its name here.

    May be repeated: what an earlier run brought whole is not fetched again, and a model that is there already, intact,
    is left alone. Every file is checked against the manifest before the folder gets its name, in one step.

    Raises:
        Broken: it expired, or a file in the repository is missing, or not what the manifest says. Nothing gets the
            model's name.
        NoSuchModel: there is none.
        CouldNotRead: it cannot be reached, the folder is something else, or another download into it is under way.
        SettingsError: the settings cannot be used.
    """
    async with named(asked, settings) as (source, _, model_id):
        body = await source.read(MANIFEST)
        manifest, problems = read_manifest(body, model_id)
        if manifest is None or body is None:
            raise Broken(problems)
        if expired := if_expired(manifest):
            raise Broken(expired)
        target = (to or Path(manifest.model_id)).absolute()
        if await asyncio.to_thread(_is_there, target, manifest, body):
            return _done(manifest, target, 0)
        partial = target.with_name(f".{target.name}.partial")
        with _alone(partial):
            fetched = await _fill(partial, source, manifest, progress)
            await asyncio.to_thread(_finish, partial, target, body)
        return _done(manifest, target, fetched)


async def _fill(partial: Path, source: Source, manifest: Manifest, progress: Progress) -> int:
    """Bring every file of the manifest into a folder, and take away all others; return the bytes that were fetched."""
    progress.begin("downloading", sum(file.size for file in manifest.files))
    named = {file.path: file for file in manifest.files}
    for path in (await asyncio.to_thread(walked, partial)).sizes:
        if path not in named:
            (partial / path).unlink()
    fetched, problems = 0, []
    for file in manifest.files:
        if await asyncio.to_thread(_is_whole, partial, file):
            progress.advance(file.path, file.size)
            continue
        try:
            await source.fetch(file.path, partial / file.path)
        except FileNotFoundError:
            problems.append(Problem(file.path, "missing", "the manifest names it, and it is not there"))
            continue
        fetched += file.size
        progress.advance(file.path, file.size)
        wrong = await asyncio.to_thread(lambda file=file: list(check_file(partial, file, _quietly)))  # type: ignore[misc]
        if wrong:
            (partial / file.path).unlink()
        problems += wrong
    progress.end()
    if problems:
        raise Broken(tuple(problems))
    return fetched


def _finish(partial: Path, target: Path, manifest: bytes) -> None:
    (partial / MANIFEST).write_bytes(manifest)
    try:
        partial.rename(target)
    except OSError as error:
        raise CouldNotRead(f"{printable(str(target))}: {error.strerror}") from error


def _is_there(target: Path, manifest: Manifest, body: bytes) -> bool:
    """Return whether a folder is this model, intact. Raises CouldNotRead where it is anything else but empty."""
    if not target.exists() and not target.is_symlink():
        return False
    name = printable(str(target))
    if not target.is_dir() or target.is_symlink():
        raise CouldNotRead(f"{name}: is there, and is no folder")
    if not any(target.iterdir()):
        return False
    there = target / MANIFEST
    if not there.is_file() or there.read_bytes() != body:
        raise CouldNotRead(f"{name}: is there, and is not this model; choose another folder with --to")
    problems = unlisted(manifest, walked(target))
    problems += [problem for file in manifest.files for problem in check_file(target, file, _quietly)]
    if problems:
        raise CouldNotRead(f"{name}: is this model, and is not intact ({problems[0].path}); remove it first")
    return True


def _is_whole(partial: Path, file: Descriptor) -> bool:
    path = partial / file.path
    return path.is_file() and not path.is_symlink() and not list(check_file(partial, file, _quietly))


def _quietly(_: str, __: int) -> None:
    """Say nothing of bytes that are read a second time."""


@contextmanager
def _alone(partial: Path) -> Iterator[None]:
    """Hold a folder, made where it is missing, against other downloads into it; it ends with the process."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CouldNotRead(f"{printable(str(partial))}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise CouldNotRead(f"{printable(str(partial))}: another download is under way") from error
    finally:
        os.close(descriptor)


def _done(manifest: Manifest, target: Path, fetched: int) -> Downloaded:
    return Downloaded(
        model_id=manifest.model_id,
        path=str(target),
        files=len(manifest.files),
        size_bytes=sum(file.size for file in manifest.files),
        fetched_bytes=fetched,
    )
