"""Checkpoints: a directory of the Trainer's, kept in the bucket without a single pickle.

The Trainer writes optimizer, scheduler and random number state as pickles. They are turned into JSON and safetensors
where they were written, before anything leaves the machine, and back where training goes on: what comes out of the
bucket is never unpickled.
"""

import json
import re
from pathlib import Path

import msgspec
import torch
from msgspec import Struct
from transformers.trainer_pt_utils import safe_globals

from contracts.training import FileDigest
from worker.trainer.bucket import Bucket, digest_of
from worker.trainer.failures import platforms_fault
from worker.trainer.models import MODEL_FILES
from worker.trainer.safe_tree import load_tree, save_tree

COMPLETE = "complete.json"

#: The Trainer's pickles, and what they are kept as.
_STATES = {"optimizer.pt": "optimizer", "scheduler.pt": "scheduler", "rng_state.pth": "random_state"}
_KEPT = re.compile(rf"({MODEL_FILES.pattern}|trainer_state\.json|({'|'.join(_STATES.values())})\.(json|safetensors))")


class Kept(Struct, frozen=True, kw_only=True):
    """A checkpoint that could become an output."""

    step: int
    prefix: str
    loss: float | None = None
    validation_loss: float | None = None


class Complete(Struct, frozen=True, kw_only=True):
    """``complete.json``, written last. ``history``: this checkpoint and those before it, over all attempts."""

    step: int
    files: tuple[FileDigest, ...]
    history: tuple[Kept, ...]


def make_safe(folder: Path, base: str) -> None:
    """Turn the Trainer's directory into one that may leave the machine. Whatever has no place in it is deleted.

    ``base`` is what an adapter is on, by name: the local path it was loaded from means nothing elsewhere.
    """
    for pickled, name in _STATES.items():
        with safe_globals():  # type: ignore[no-untyped-call]  # theirs has no types
            state = torch.load(folder / pickled, map_location="cpu", weights_only=True)
        save_tree(state, folder / name)
    adapter = folder / "adapter_config.json"
    if adapter.exists():
        config = json.loads(adapter.read_text()) | {"base_model_name_or_path": base}
        # It is a set in memory, written in an order that no two processes share.
        if isinstance(config.get("target_modules"), list):
            config["target_modules"].sort()
        adapter.write_text(json.dumps(config, indent=2, sort_keys=True))
    for path in folder.iterdir():
        if not _KEPT.fullmatch(path.name):
            path.unlink()


def make_loadable(folder: Path) -> None:
    """Turn a directory back into the Trainer's, in a place that only this process reads. The reverse of make_safe."""
    for pickled, name in _STATES.items():
        torch.save(load_tree(folder / name), folder / pickled)


def upload(bucket: Bucket, folder: Path, kept: Kept, history: tuple[Kept, ...]) -> None:
    """Store a safe directory under the checkpoint's prefix, ``complete.json`` last. May be repeated."""
    files = tuple(bucket.upload(kept.prefix + path.name, path) for path in sorted(folder.iterdir()))
    complete = Complete(step=kept.step, files=files, history=(*history, kept))
    bucket.put(kept.prefix + COMPLETE, msgspec.json.encode(complete))


def read(bucket: Bucket, prefix: str) -> Complete:
    """Return what a checkpoint consists of. Raises JobError where it is not complete."""
    body = bucket.get(prefix + COMPLETE)
    if body is None:
        raise platforms_fault("checkpoint-missing", f"there is no complete checkpoint under {prefix}")
    return _decoded(body, prefix)


def download(bucket: Bucket, prefix: str, folder: Path) -> Complete:
    """Write a checkpoint into a folder, ready for the Trainer. Raises JobError where it is not whole or not intact."""
    complete = read(bucket, prefix)
    folder.mkdir(parents=True)
    for file in complete.files:
        if not _KEPT.fullmatch(file.path):
            raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} has no place in a checkpoint")
        _fetch(bucket, prefix, file, folder)
    make_loadable(folder)
    return complete


def _fetch(bucket: Bucket, prefix: str, file: FileDigest, folder: Path) -> None:
    try:
        bucket.fetch(prefix + file.path, folder / file.path)
    except FileNotFoundError as error:
        raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} is gone") from error
    if digest_of(folder / file.path) != file:
        raise platforms_fault("checkpoint-broken", f"{prefix}{file.path} is not what was stored")


def _decoded(body: bytes, prefix: str) -> Complete:
    try:
        return msgspec.json.decode(body, type=Complete)
    except msgspec.MsgspecError as error:
        raise platforms_fault("checkpoint-broken", f"{prefix}{COMPLETE} cannot be read: {error}") from error
