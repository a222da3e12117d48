"""Whether a model is what its manifest says, byte by byte: pure Python, nothing of the model is ever loaded."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from contracts.model import Descriptor, Manifest
from contracts.probe import Probe
from handlers.manifests import MANIFEST, expired_when
from worker.models.contents import BadContent, check_content
from worker.models.source import Listed

#: Told how many bytes more were read, and of which file.
Advance = Callable[[str, int], None]

_READ_BYTES = 1 << 20


class Problem(Struct, frozen=True):
    """What is wrong with a model, and with which of its files. ``code`` is for programs."""

    path: str
    code: str
    message: str


class ManifestReading(NamedTuple):
    """A manifest, or None with why it cannot be used."""

    manifest: Manifest | None
    problems: tuple[Problem, ...]


def read_manifest(body: bytes | None, model_id: str | None = None) -> ManifestReading:
    """Read a manifest and judge its own shape. ``model_id`` is whose it must be, where that is known. Never raises."""
    if body is None:
        return _unusable("missing", "it is not there: the export was not finished, or it was taken away")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return _unusable("broken-manifest", f"it cannot be read: {error}")
    faults = list(_faults(manifest, model_id))
    return ManifestReading(None if faults else manifest, tuple(_problem("broken-manifest", each) for each in faults))


def if_expired(manifest: Manifest) -> tuple[Problem, ...]:
    """Return that a model is not to be used any more, where it is not. Pure."""
    return (_problem("expired", f"the model {expired_when(manifest.expiry)}"),) if manifest.expiry else ()


def unlisted(manifest: Manifest, listed: Listed) -> list[Problem]:
    """Return what the manifest and a listing disagree about: files missing, or not named. Pure."""
    named = [file.path for file in manifest.files]
    there = {*listed.sizes, *listed.links}
    found = [Problem(path, "link", "it is a link or no plain file") for path in listed.links]
    found += [
        Problem(path, "missing", "the manifest names it, and it is not there") for path in named if path not in there
    ]
    extra = listed.sizes.keys() - {*named, MANIFEST}
    return found + [Problem(path, "extra", "the manifest does not name it") for path in sorted(extra)]


def check_file(folder: Path, file: Descriptor, advance: Advance) -> Iterator[Problem]:
    """Yield what is wrong with one file that is there: its size, its digest, its contents. Blocks; reads it once."""
    path = folder / file.path
    try:
        size = path.stat().st_size
        if size != file.size:
            yield _wrong_size(file, size)
        elif (digest := f"sha256:{_sha256(path, file.path, advance)}") != file.digest:
            yield Problem(file.path, "wrong-digest", f"its SHA-256 is {digest[7:19]}…, not {file.digest[7:19]}…")
        check_content(path, file.path)
    except BadContent as error:
        yield Problem(file.path, error.code, str(error))
    except OSError as error:
        yield Problem(file.path, "unreadable", str(error.strerror or error))


def check_probe(folder: Path, manifest: Manifest) -> tuple[Probe | None, list[Problem]]:
    """Return the probe a manifest names, or None, with what is wrong with it. Blocks."""
    if manifest.probe is None:
        return None, []
    try:
        probe = msgspec.json.decode((folder / manifest.probe.path).read_bytes(), type=Probe)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return None, [Problem(manifest.probe.path, "broken-probe", f"it cannot be read: {error}")]
    if probe.tolerance != manifest.probe.tolerance:
        message = f"its tolerance is {probe.tolerance}, the manifest says {manifest.probe.tolerance}"
        return None, [Problem(manifest.probe.path, "broken-probe", message)]
    return probe, []


def _faults(manifest: Manifest, model_id: str | None) -> Iterator[str]:
    if model_id is not None and manifest.model_id != model_id:
        yield f"it is of the model {manifest.model_id}, not of {model_id}"
    yield from _faults_of_paths(manifest)
    seen = {file.path for file in manifest.files}
    if not any(path.endswith(".safetensors") for path in seen):
        yield "it names no weights"
    said = {"probe": manifest.probe and manifest.probe.path, "GGUF": manifest.gguf and manifest.gguf.path}
    for what, path in said.items():
        if path is not None and path not in seen:
            yield f"it names the {what} {path!r}, which is none of its files"
    stated, digests = manifest.lineage.get("tokenizer"), {file.path: file.digest for file in manifest.files}
    for path, digest in stated.items() if isinstance(stated, dict) else ():
        if digests.get(path) != digest:
            yield f"its lineage says another digest of {path!r} than its list of files"
    if manifest.step not in manifest.kept.steps:
        yield f"its step {manifest.step} is none of those that were kept"


def _faults_of_paths(manifest: Manifest) -> Iterator[str]:
    seen: set[str] = set()
    for file in manifest.files:
        if any(part in ("", ".", "..") for part in file.path.split("/")) or "\0" in file.path:
            yield f"it names {file.path!r}, which leads out of the model"
        if file.path in seen or file.path == MANIFEST:
            yield f"it names {file.path!r} more than once" if file.path in seen else "it names itself"
        seen.add(file.path)


def _wrong_size(file: Descriptor, size: int) -> Problem:
    return Problem(file.path, "wrong-size", f"it has {size} bytes, the manifest says {file.size}")


def _unusable(code: str, message: str) -> ManifestReading:
    return ManifestReading(None, (_problem(code, message),))


def _problem(code: str, message: str) -> Problem:
    return Problem(MANIFEST, code, message)


def _sha256(path: Path, name: str, advance: Advance) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            whole.update(block)
            advance(name, len(block))
    return whole.hexdigest()
