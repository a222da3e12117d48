"""A kept output in the model repository."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from contracts.envelope import END, Id, Time
from contracts.gguf import Gguf
from contracts.training import OutputProbe

Kind = Literal["adapter", "full"]


class ModelExported(Struct, frozen=True, kw_only=True):
    """One kept output is complete in the model repository (``model.exported``): its manifest has been written."""

    model_id: Id
    task_id: Id
    project: Id
    attempt: int
    step: int
    kind: Kind
    uri: str
    manifest_uri: str
    size_bytes: int
    base_model: str
    loss: float | None = None
    validation_loss: float | None = None


class ModelExpired(Struct, frozen=True, kw_only=True):
    """A model was kept as long as its project keeps models (``model.expired``): its files are deleted after this.

    Final: a ``model.exported`` of this model that comes later repeats what was. The manifest stays, and says so too.
    """

    model_id: Id
    task_id: Id
    project: Id
    uri: str
    manifest_uri: str
    size_bytes: int
    exported_at: Time
    expired_at: Time
    retention_days: float


class Descriptor(Struct, frozen=True, kw_only=True, rename={"media_type": "mediaType"}):
    """One file of a model, in the words of OCI's content descriptors; ``path`` is relative to the manifest's folder."""

    path: Annotated[str, Meta(min_length=1)]
    media_type: str
    digest: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}" + END)]
    size: Annotated[int, Meta(ge=0)]


class Kept(Struct, frozen=True, kw_only=True):
    """Why this checkpoint was kept: the ``rank``-th best by validation loss, or the ``rank``-th from the end.

    ``steps`` are those of all that were kept, in order; ``distance`` is how many steps the nearest other one is away,
    None where there is none: close neighbours are nearly the same model.
    """

    by: Literal["validation-loss", "last"]
    rank: Annotated[int, Meta(ge=1)]
    steps: tuple[int, ...]
    distance: int | None = None


class Expiry(Struct, frozen=True, kw_only=True):
    """That a model's time was over ``at`` a moment: ``retention_days`` after it was exported."""

    at: Time
    exported_at: Time
    retention_days: float


class Manifest(Struct, frozen=True, kw_only=True):
    """``manifest.json``: written last, so a model that has one is complete. ``lineage`` says what it was made of.

    ``gguf`` says what became of its GGUF file, where one was asked for. With ``expiry`` the model is not to be used any
    more: ``files`` are those it had, and are deleted.
    """

    schema_version: Literal[2] = 2
    model_id: Id
    task_id: Id
    project: Id
    attempt: int
    step: int
    kind: Kind
    files: tuple[Descriptor, ...]
    kept: Kept
    metrics: dict[str, float]
    probe: OutputProbe | None = None
    gguf: Gguf | None = None
    lineage: dict[str, Any]
    expiry: Expiry | None = None
