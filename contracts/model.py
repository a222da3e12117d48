"""A kept output in the model repository."""

from typing import Any, Literal

from msgspec import Struct

from contracts.envelope import Id
from contracts.training import FileDigest


class ModelExported(Struct, frozen=True, kw_only=True):
    """One kept output is complete in the model repository (``model.exported``): its manifest has been written."""

    model_id: Id
    task_id: Id
    project: Id
    attempt: int
    step: int
    kind: Literal["adapter", "full"]
    uri: str
    manifest_uri: str
    size_bytes: int
    base_model: str
    loss: float | None = None
    validation_loss: float | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """``manifest.json``: written last, so a model that has one is complete. ``lineage`` says what it was made of."""

    schema_version: Literal[1] = 1
    model_id: Id
    task_id: Id
    attempt: int
    step: int
    kind: Literal["adapter", "full"]
    files: tuple[FileDigest, ...]
    metrics: dict[str, float]
    lineage: dict[str, Any]
