"""What a model was made of, as its manifest says it, for people."""

from typing import Any

import msgspec
from msgspec import Struct

from contracts.model import Manifest


class Dataset(Struct, frozen=True, kw_only=True):
    """Data that a model was trained on."""

    dataset_id: str
    samples: int
    files: tuple[Any, ...] = ()


class Base(Struct, frozen=True, kw_only=True):
    """Which files a model was trained from. ``model_id``: those of a model that was exported earlier."""

    model_id: str | None = None
    revision: str | None = None


class Lineage(Struct, frozen=True, kw_only=True):
    """The part of a lineage that is shown. Whoever can write a manifest can write anything into it."""

    base_model: str
    base_version: str
    training_type: str | None = None
    executor: str | None = None
    base: Base = Base()
    training: tuple[Dataset, ...] = ()

    @property
    def foundation(self) -> str:
        """Return the foundation model that it all began with."""
        return f"{self.base_model}@{self.base_version}"


def lineage_of(manifest: Manifest) -> Lineage | None:
    """Return a manifest's lineage, or None where it says something else. Pure."""
    try:
        return msgspec.convert(manifest.lineage, Lineage)
    except msgspec.ValidationError:
        return None
