"""Base models and their prices, as handlers need them."""

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from contracts.hyperparameters import HyperparameterRule


class ModelEntry(Struct, frozen=True, kw_only=True):
    """A base model as the catalogue knows it. ``prefix`` is where its files (tokenizer, weights) are in the bucket."""

    name: str
    version: str
    prefix: str
    context_length: int
    training_types: dict[str, dict[str, HyperparameterRule]] = {}
    function_calling: bool = False
    thinking: bool = False


class PresetDataset(Struct, frozen=True, kw_only=True):
    """A dataset of the platform's own that may be mixed in: imported and validated like any other."""

    dataset_id: str
    version: str


class Price(Struct, frozen=True, kw_only=True):
    """Price per 1,000 tokens, a decimal string, with its currency and the version of the table it is from."""

    per_1k_tokens: str
    currency: str
    version: str


class Catalog(Protocol):
    """Which base models there are, what may be set on them and what they cost. Configuration, not state."""

    def model(self, name: str, version: str) -> ModelEntry | None:
        """Return a model of the catalogue, or None."""
        ...

    def models(self) -> Sequence[ModelEntry]:
        """Return every model."""
        ...

    def price(self, model: ModelEntry, method: Literal["full", "LoRA"]) -> Price | None:
        """Return what training the model costs, or None where no price is set."""
        ...

    def currency(self) -> str:
        """Return the currency of the price table."""
        ...

    def published(self, training_type: str) -> bool:
        """Return whether users may choose this training type."""
        ...

    def presets(self, training_type: str) -> Sequence[PresetDataset]:
        """Return what a preset mix draws from for a training type; none where it has no preset datasets."""
        ...
