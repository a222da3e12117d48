"""Reads the catalogue's files, and refuses what could only go wrong later."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from contracts.envelope import Id
from contracts.hyperparameters import HyperparameterRule
from contracts.task import TrainingType
from handlers.ports.catalog import ModelEntry, PresetDataset, Price
from worker.catalog.faults import first_fault
from worker.catalog.rules import PartialRule, RuleError, layered
from worker.settings import SettingsError

SHIPPED = Path(__file__).parent
MODELS_FILE = SHIPPED / "models.toml"
PRICES_FILE = SHIPPED / "prices.toml"

Method = Literal["full", "LoRA"]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?\Z")]
#: A folder of the bucket: relative, with a final slash, without a way out.
Prefix = Annotated[str, Meta(pattern=r"^([A-Za-z0-9_%-][A-Za-z0-9._%-]*/)+\Z")]
Read = TypeVar("Read")


class CatalogError(SettingsError):
    """A catalogue that cannot be used; the text names the file and the field."""


class _Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Text
    version: Text
    prefix: Prefix
    context_length: Annotated[int, Meta(ge=1)]
    training_types: dict[TrainingType, dict[str, PartialRule]] = {}
    function_calling: bool = False
    thinking: bool = False


class _Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dataset_id: Id
    version: Text


class _ModelsFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    models: Annotated[tuple[_Model, ...], Meta(min_length=1)]
    published: dict[TrainingType, bool] = {}
    shared: dict[str, PartialRule] = {}
    defaults: dict[TrainingType, dict[str, PartialRule]] = {}
    presets: dict[TrainingType, tuple[_Preset, ...]] = {}


class _ModelPrices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"lora": "LoRA"}):
    model: Text
    version: Text
    full: Amount | None = None
    lora: Amount | None = None


class _PricesFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Text
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    prices: tuple[_ModelPrices, ...] = ()


class FileCatalog:
    """A Catalog as two files said when they were read; it does not change afterwards."""

    def __init__(
        self,
        models: Sequence[ModelEntry],
        prices: dict[tuple[str, str, Method], Price],
        published: dict[str, bool],
        presets: Mapping[str, tuple[PresetDataset, ...]],
        currency: str,
    ) -> None:
        self._models = {(model.name, model.version): model for model in models}
        self._prices = prices
        self._published = published
        self._presets = presets
        self._currency = currency

    def model(self, name: str, version: str) -> ModelEntry | None:
        """Return a model, or None."""
        return self._models.get((name, version))

    def models(self) -> Sequence[ModelEntry]:
        """Return every model, in the file's order."""
        return tuple(self._models.values())

    def price(self, model: ModelEntry, method: Method) -> Price | None:
        """Return what training the model costs, or None where the table has no price."""
        return self._prices.get((model.name, model.version, method))

    def currency(self) -> str:
        """Return the currency of the price table, also of one without prices."""
        return self._currency

    def published(self, training_type: str) -> bool:
        """Return whether users may choose this training type; one the file does not name is published."""
        return self._published.get(training_type, True)

    def presets(self, training_type: str) -> Sequence[PresetDataset]:
        """Return what a preset mix draws from for a training type, in the file's order."""
        return self._presets.get(training_type, ())


def load_catalog(models_file: Path | None = None, prices_file: Path | None = None) -> FileCatalog:
    """Read the catalogue; the shipped files stand in for those not given. Blocks.

    Raises:
        CatalogError: a file is missing, is not TOML, or breaks a rule.
    """
    models_file, prices_file = models_file or MODELS_FILE, prices_file or PRICES_FILE
    said = read_toml(models_file, _ModelsFile)
    models: dict[tuple[str, str], ModelEntry] = {}
    for index, model in enumerate(said.models):
        if (model.name, model.version) in models:
            raise CatalogError(f"{models_file}: models[{index}]: {model.name} {model.version} is there already")
        models[(model.name, model.version)] = _entry(model, said, f"{models_file}: models[{index}]")
    published = {str(training_type): flag for training_type, flag in said.published.items()}
    prices = read_toml(prices_file, _PricesFile)
    return FileCatalog(
        tuple(models.values()), _prices(prices, prices_file), published, _presets(said, models_file), prices.currency
    )


def _presets(said: _ModelsFile, path: Path) -> dict[str, tuple[PresetDataset, ...]]:
    table: dict[str, tuple[PresetDataset, ...]] = {}
    for training_type, presets in said.presets.items():
        names = [preset.dataset_id for preset in presets]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise CatalogError(f"{path}: presets.{training_type}[{index}]: {name} is there already")
        table[training_type] = tuple(
            PresetDataset(dataset_id=preset.dataset_id, version=preset.version) for preset in presets
        )
    return table


def _entry(model: _Model, said: _ModelsFile, where: str) -> ModelEntry:
    training_types: dict[str, dict[str, HyperparameterRule]] = {}
    for training_type, own in model.training_types.items():
        try:
            training_types[training_type] = layered([said.shared, said.defaults.get(training_type, {}), own])
        except RuleError as error:
            raise CatalogError(f"{where}.training_types.{training_type}.{error}") from error
    fields = msgspec.structs.asdict(model)
    return ModelEntry(**{**fields, "training_types": training_types})


def _prices(said: _PricesFile, path: Path) -> dict[tuple[str, str, Method], Price]:
    table: dict[tuple[str, str, Method], Price] = {}
    for index, row in enumerate(said.prices):
        amounts: tuple[tuple[Method, str | None], ...] = (("full", row.full), ("LoRA", row.lora))
        for method, amount in amounts:
            key = (row.model, row.version, method)
            if amount is None:
                continue
            if key in table:
                raise CatalogError(f"{path}: prices[{index}].{method}: {row.model} {row.version} has a price already")
            table[key] = Price(per_1k_tokens=amount, currency=said.currency, version=said.version)
    return table


def read_toml(path: Path, kind: type[Read]) -> Read:
    """Return a file of the catalogue. Raises CatalogError where it is missing, is not TOML or breaks a rule. Blocks."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(said, kind)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise CatalogError(f"{path}: {first_fault(said, kind) or error}") from error
