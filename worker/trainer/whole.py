"""Whole models from the bucket: what an adapter is on may be an adapter itself, down to a foundation model."""

import json
from pathlib import Path

import msgspec

from contracts.model import Manifest
from handlers import layout
from handlers.manifests import MANIFEST
from worker.trainer.bucket import Bucket
from worker.trainer.failures import platforms_fault
from worker.trainer.model_files import fetch_model

#: Adapters on adapters, at most. Each was trained on the one below, so a longer row is a circle that somebody made.
_MOST = 16


def fetch_whole(bucket: Bucket, prefix: str, folder: Path) -> None:
    """Write a whole model's files into a new folder: of an adapter, those of what it makes of its base.

    Folders beside it take what that is made from. Deterministic. Raises JobError where something is not in the bucket.
    """
    _fetch(bucket, prefix, folder, 0)


def base_prefix_of(adapter: Path) -> str:
    """Return the prefix of what the adapter in a folder is on. Raises JobError where it does not say so."""
    try:
        said = json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
        name, _, version = said.rpartition("@")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise platforms_fault("base-model-missing", f"an adapter does not say what it is on: {error}") from error
    # An exported model's id has no @.
    return layout.base_model(name, version) if name else layout.model(said)


def _fetch(bucket: Bucket, prefix: str, folder: Path, above: int) -> None:
    if above > _MOST:
        raise platforms_fault("base-model-missing", f"{prefix} is an adapter on too many others", retryable=False)
    fetch_model(bucket, prefix, folder)
    if not (folder / "adapter_config.json").exists():
        return
    # Torch, which a whole model does not need, takes ten seconds to import.
    from worker.trainer.merging import write_merged  # noqa: PLC0415 - the reason is above

    adapter, base = (folder.with_name(f"{folder.name}-{part}") for part in ("adapter", "below"))
    folder.rename(adapter)
    _fetch(bucket, _stated(bucket, prefix) or base_prefix_of(adapter), base, above + 1)
    write_merged(base, adapter, folder)


def _stated(bucket: Bucket, prefix: str) -> str | None:
    """Return the prefix of a base as the manifest of an exported model says it: the catalogue may have any."""
    body = bucket.get(prefix + MANIFEST)
    stated = msgspec.json.decode(body, type=Manifest).lineage.get("base_prefix") if body else None
    return stated if isinstance(stated, str) else None
