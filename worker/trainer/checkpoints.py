"""Checkpoints: a directory of the trainer's, kept in the bucket.

No pickle is in one, so nothing that comes out of the bucket is ever unpickled: weights are safetensors; optimizer,
schedule and random number generators are JSON and safetensors.
"""

import json
import re
from pathlib import Path

import msgspec
from msgspec import Struct

from contracts.training import FileDigest
from worker.trainer.bucket import Bucket, digest_of
from worker.trainer.failures import platforms_fault
from worker.trainer.model_files import MODEL_FILES, TOKENIZER_FILES

COMPLETE = "complete.json"

#: The parts of a checkpoint that are no model, a pair of files each. Every process has generators of its own.
OPTIMIZER, SCHEDULE, RANDOM_STATE = "optimizer", "scheduler", "random_state-{}"

_KEPT = re.compile(
    rf"{MODEL_FILES.pattern}|{TOKENIZER_FILES.pattern}|trainer_state\.json|reference\.safetensors"
    rf"|({OPTIMIZER}|{SCHEDULE}|{RANDOM_STATE.format('[0-9]{1,4}')})\.(json|safetensors)"
)


class Kept(Struct, frozen=True, kw_only=True):
    """A checkpoint that could become an output. ``trained_tokens``: all that the model has seen up to there."""

    step: int
    prefix: str
    loss: float | None = None
    validation_loss: float | None = None
    trained_tokens: int = 0


class Complete(Struct, frozen=True, kw_only=True):
    """``complete.json``, written last. ``history``: this checkpoint and those before it, over all attempts."""

    step: int
    files: tuple[FileDigest, ...]
    history: tuple[Kept, ...]


def tidy(folder: Path, base: str) -> None:
    """Delete whatever has no place in a checkpoint, and make an adapter the same wherever it was trained.

    ``base`` is what an adapter is on, by name: the local path it was loaded from means nothing elsewhere.
    """
    adapter = folder / "adapter_config.json"
    if adapter.exists():
        config = json.loads(adapter.read_text()) | {"base_model_name_or_path": base}
        # It is a set in memory, written in an order that no two processes share.
        if isinstance(config.get("target_modules"), list):
            config["target_modules"].sort()
        adapter.write_text(json.dumps(config, indent=2, sort_keys=True))
    for path in _files(folder):
        if not _KEPT.fullmatch(_name(path, folder)):
            path.unlink()


def upload(bucket: Bucket, folder: Path, kept: Kept, history: tuple[Kept, ...]) -> None:
    """Store a tidy directory under the checkpoint's prefix, ``complete.json`` last. May be repeated."""
    files = tuple(bucket.upload(kept.prefix, _name(path, folder), path) for path in _files(folder))
    complete = Complete(step=kept.step, files=files, history=(*history, kept))
    bucket.put(kept.prefix + COMPLETE, msgspec.json.encode(complete))


def read(bucket: Bucket, prefix: str) -> Complete:
    """Return what a checkpoint consists of. Raises JobError where it is not complete."""
    body = bucket.get(prefix + COMPLETE)
    if body is None:
        raise platforms_fault("checkpoint-missing", f"there is no complete checkpoint under {prefix}")
    return _decoded(body, prefix)


def download(bucket: Bucket, prefix: str, folder: Path) -> Complete:
    """Write a checkpoint into a folder. Raises JobError where it is not whole or not intact."""
    complete = read(bucket, prefix)
    folder.mkdir(parents=True)
    for file in complete.files:
        if not _KEPT.fullmatch(file.path):
            raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} has no place in a checkpoint")
        _fetch(bucket, prefix, file, folder)
    return complete


def _fetch(bucket: Bucket, prefix: str, file: FileDigest, folder: Path) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        bucket.fetch(prefix + file.path, path)
    except FileNotFoundError as error:
        raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} is gone") from error
    if digest_of(path, file.path) != file:
        raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} is not what was stored")


def _decoded(body: bytes, prefix: str) -> Complete:
    try:
        return msgspec.json.decode(body, type=Complete)
    except msgspec.MsgspecError as error:
        raise platforms_fault("checkpoint-broken", f"{prefix}{COMPLETE} cannot be read: {error}") from error


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
