"""The verification of a model, wherever it is: its bytes, then a load of it in another process."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from contracts.model import Manifest
from contracts.strict_json import printable
from handlers.manifests import MANIFEST
from worker.models import loading
from worker.models.loading import Loaded
from worker.models.named import named
from worker.models.progress import Progress
from worker.models.source import FolderSource, Listed, Source
from worker.models.verify import Problem, check_file, check_probe, if_expired, read_manifest, unlisted
from worker.settings import Settings


class Verdict(Struct, frozen=True, kw_only=True):
    """What is known of a model now. ``difference`` is the largest between its probe and its repetition."""

    model_id: str | None
    place: str
    files: int = 0
    size_bytes: int = 0
    problems: tuple[Problem, ...] = ()
    unchecked: tuple[str, ...] = ()
    difference: float | None = None
    tolerance: float | None = None

    @property
    def exit_code(self) -> int:
        """Return 0 verified, 1 not what its manifest says, 2 not all could be checked."""
        return 1 if self.problems else 2 if self.unchecked else 0


async def verify(asked: str, settings: Settings, *, base: Path | None, progress: Progress) -> Verdict:
    """Check all there is to check of a model. Changes nothing.

    Raises:
        NoSuchModel: there is nothing there.
        CouldNotRead: it cannot be reached.
        SettingsError: the settings cannot be used.
    """
    async with named(asked, settings) as (source, listed, model_id):
        manifest, problems = read_manifest(await source.read(MANIFEST), model_id)
        if manifest is None:
            return Verdict(model_id=None, place=source.name, problems=problems)
        if expired := if_expired(manifest):
            return Verdict(model_id=manifest.model_id, place=source.name, problems=expired)
        async with _at_hand(source, manifest, listed, progress) as folder:
            return await asyncio.to_thread(_judged, manifest, listed, source, folder, settings, base, progress)


@asynccontextmanager
async def _at_hand(source: Source, manifest: Manifest, listed: Listed, progress: Progress) -> AsyncIterator[Path]:
    """Give a folder of this machine with those of a model's files that are there."""
    if isinstance(source, FolderSource):
        yield source.folder
        return
    there = [file for file in manifest.files if file.path in listed.sizes]
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        progress.begin("downloading", sum(listed.sizes[file.path] for file in there))
        for file in there:
            # One that goes meanwhile is missed when it is read.
            with contextlib.suppress(FileNotFoundError):
                await source.fetch(file.path, Path(scratch, file.path))
            progress.advance(file.path, listed.sizes[file.path])
        yield Path(scratch)


def _judged(
    manifest: Manifest,
    listed: Listed,
    source: Source,
    folder: Path,
    settings: Settings,
    base: Path | None,
    progress: Progress,
) -> Verdict:
    problems = unlisted(manifest, listed)
    there = [file for file in manifest.files if file.path in listed.sizes]
    progress.begin("verifying", sum(listed.sizes[file.path] for file in there))
    for file in there:
        problems += check_file(folder, file, progress.advance)
    progress.end()
    probe, wrong = check_probe(folder, manifest) if not problems else (None, [])
    problems += wrong
    # Never is loaded what is not what it should be.
    loaded = Loaded(outcome="not-tried")
    if not problems and probe is not None and loading.can_load():
        progress.note(f"loading {printable(manifest.model_id)} and repeating its probe")
    if not problems and probe is not None:
        loaded = loading.load(folder, settings, base=base, base_prefix=_base_prefix(manifest, base))
    elif not problems:
        loaded = Loaded(outcome="not-tried", faults=("it was exported without a probe",))
    unchecked = _unchecked(loaded)
    if loaded.outcome in ("unloadable", "differs"):
        code = "unloadable" if loaded.outcome == "unloadable" else "probe-differs"
        path = manifest.probe.path if manifest.probe and code == "probe-differs" else "."
        problems += [Problem(path, code, fault) for fault in loaded.faults]
    return Verdict(
        model_id=manifest.model_id,
        place=source.name,
        files=len(manifest.files),
        size_bytes=sum(file.size for file in manifest.files),
        problems=tuple(problems),
        unchecked=unchecked,
        difference=loaded.difference,
        tolerance=probe.tolerance if probe else None,
    )


def _base_prefix(manifest: Manifest, base: Path | None) -> str | None:
    stated = manifest.lineage.get("base_prefix")
    return stated if manifest.kind == "adapter" and base is None and isinstance(stated, str) else None


def _unchecked(loaded: Loaded) -> tuple[str, ...]:
    if loaded.outcome == "no-base":
        return tuple(f"that it loads: {fault}; give --base FOLDER, what the adapter is on" for fault in loaded.faults)
    if loaded.outcome == "not-tried":
        return tuple(f"that it loads and repeats its probe: {fault}" for fault in loaded.faults)
    return ()
