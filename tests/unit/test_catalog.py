"""The catalogue: what is read, what is refused, and with which words."""

import re
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from contracts.hyperparameters import HyperparameterRule
from contracts.task import TrainingType
from handlers.ports.catalog import Catalog, ModelEntry, Price
from handlers.pricing import method_of
from worker.catalog import CatalogError, load_catalog

MODELS = """
[published]
DPO = false

[[models]]
name = "small"
version = "1"
prefix = "base-models/small/1/"
context_length = 2048
thinking = true

[models.training_types.FinetuneLoRA.epochs]
type = "int"
default = 3
min = 1
max = 10

[models.training_types.FinetuneLoRA.learning_rate]
type = "float"
default = 1
min = 1e-6

[models.training_types.FinetuneLoRA.scheduler]
type = "str"
default = "cosine"
enum = ["cosine", "linear"]

[models.training_types.FinetuneSft]

[[models]]
name = "small"
version = "2"
prefix = "base-models/small/2/"
context_length = 4096
"""

PRICES = """
version = "7"
currency = "EUR"

[[prices]]
model = "small"
version = "1"
LoRA = "0.0010"

[[prices]]
model = "small"
version = "1"
full = "0.0030"
"""

LAYERS = """
[shared]
epochs = { type = "int", default = 3, min = 1, max = 10 }
precision = { type = "str", default = "fp32", enum = ["fp32", "bf16"] }

[defaults.DPO]
epochs = { default = 2 }
beta = { type = "float", default = 0.1, min = 0.01 }

[[models]]
name = "small"
version = "1"
prefix = "base-models/small/1/"
context_length = 2048

[models.training_types]
DPO = { epochs = { default = 5 } }
FinetuneSft = { precision = { enum = ["fp32"] } }

[[models]]
name = "other"
version = "1"
prefix = "base-models/other/1/"
context_length = 2048

[models.training_types.DPO]
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    models, prices = tmp_path / "models.toml", tmp_path / "prices.toml"
    models.write_text(MODELS)
    prices.write_text(PRICES)
    return models, prices


def test_models_and_their_rules_are_read(files: tuple[Path, Path]) -> None:
    catalog: Catalog = load_catalog(*files)
    assert [(model.name, model.version) for model in catalog.models()] == [("small", "1"), ("small", "2")]
    rules = {
        "epochs": HyperparameterRule(type="int", default=3, min=1, max=10),
        "learning_rate": HyperparameterRule(type="float", default=1, min=1e-6),
        "scheduler": HyperparameterRule(type="str", default="cosine", enum=("cosine", "linear")),
    }
    assert catalog.model("small", "1") == ModelEntry(
        name="small",
        version="1",
        prefix="base-models/small/1/",
        context_length=2048,
        training_types={"FinetuneLoRA": rules, "FinetuneSft": {}},
        thinking=True,
    )
    assert catalog.model("small", "3") is None


def test_prices_are_by_model_version_and_method(files: tuple[Path, Path]) -> None:
    catalog = load_catalog(*files)
    first, second = catalog.models()
    assert catalog.currency() == "EUR"
    assert catalog.price(first, "LoRA") == Price(per_1k_tokens="0.0010", currency="EUR", version="7")
    assert catalog.price(first, "full") == Price(per_1k_tokens="0.0030", currency="EUR", version="7")
    assert catalog.price(second, "full") is None


def test_every_training_type_is_published_unless_the_file_says_no(files: tuple[Path, Path]) -> None:
    catalog = load_catalog(*files)
    unpublished = [name for name in get_args(TrainingType) if not catalog.published(name)]
    assert unpublished == ["DPO"]


def test_the_shipped_price_table_is_usable(files: tuple[Path, Path]) -> None:
    shipped = load_catalog(models_file=files[0])
    for name in ("SmolLM2-135M-Instruct", "tiny"):
        model = ModelEntry(name=name, version="1", prefix="p/", context_length=1)
        full, adapter = shipped.price(model, "full"), shipped.price(model, "LoRA")
        assert full is not None
        assert adapter is not None
        assert full.version == "2026-01"
        assert Decimal(full.per_1k_tokens) > Decimal(adapter.per_1k_tokens) > 0


def test_the_shipped_models_can_all_be_quoted() -> None:
    shipped = load_catalog()
    assert {(model.name, model.version) for model in shipped.models()} >= {
        ("SmolLM2-135M-Instruct", "1"),
        ("tiny", "1"),
    }
    for model in shipped.models():
        assert model.training_types, f"{model.name} cannot be trained"
        for training_type in model.training_types:
            assert shipped.price(model, method_of(training_type)), f"{model.name} {training_type} has no price"
    assert all(shipped.published(name) for name in get_args(TrainingType))
    # Each training type can be tried with a pretrained model, and with one that is made on the spot.
    for tiny in (True, False):
        models = [model for model in shipped.models() if model.name.startswith("tiny") == tiny]
        assert {name for model in models for name in model.training_types} == set(get_args(TrainingType))


def test_a_model_s_rules_are_the_shared_ones_and_the_type_s_and_its_own(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text(LAYERS)
    catalog = load_catalog(models)
    small, other = catalog.models()
    assert small.training_types == {
        "DPO": {
            "epochs": HyperparameterRule(type="int", default=5, min=1, max=10),
            "precision": HyperparameterRule(type="str", default="fp32", enum=("fp32", "bf16")),
            "beta": HyperparameterRule(type="float", default=0.1, min=0.01),
        },
        "FinetuneSft": {
            "epochs": HyperparameterRule(type="int", default=3, min=1, max=10),
            "precision": HyperparameterRule(type="str", default="fp32", enum=("fp32",)),
        },
    }
    # What one model says is of no other, and a type that it does not name is not for it.
    assert other.training_types["DPO"]["epochs"].default == 2
    assert list(other.training_types) == ["DPO"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{ default = 5 }",
            "{ defaults = 5 }",
            r"models\[0\]\.training_types\.DPO\.epochs: unknown key 'defaults'; did you mean 'default'\?",
        ),
        ("{ default = 5 }", "{ default = 11 }", r"models\[0\]\.training_types\.DPO\.epochs\.default: must be .*10"),
        (
            "{ default = 5 }",
            "{ max = 1 }",
            r"training_types\.DPO\.epochs\.default: must be between 1 and 1",
        ),
        ("epochs = { default = 5 }", "epoch = { default = 5 }", r"DPO\.epoch: has no type, nor is there a rule"),
        ("[defaults.DPO]", "[defaults.DPOO]", r"defaults\.DPOO: 'DPOO' is not known; did you mean 'DPO'\?"),
        ('enum = ["fp32"]', 'enum = ["bf16"]', r"FinetuneSft\.precision\.default: must be one of bf16"),
    ],
)
def test_a_fault_in_a_layer_is_named_where_it_shows(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in LAYERS
    models = tmp_path / "models.toml"
    models.write_text(LAYERS.replace(old, new))
    with pytest.raises(CatalogError, match=said):
        load_catalog(models)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("context_length = 2048", "", r"models\[0\]: context_length is missing"),
        ("context_length = 2048", 'context_length = "2048"', r"models\[0\]\.context_length: Expected `int`"),
        ("thinking = true", "thinkin = true", "unknown key 'thinkin'; did you mean 'thinking'"),
        (
            "max = 10",
            "maximum = 10",
            r"FinetuneLoRA\.epochs: unknown key 'maximum'; did you mean 'max'\? there are type, default, min",
        ),
        ("[models.training_types.FinetuneSft]", "[models.training_types.Finetune]", "training_types"),
        ("DPO = false", "DPOO = false", r"published"),
        ('version = "2"', 'version = "1"', r"models\[1\]: small 1 is there already"),
        ("base-models/small/1/", "base-models/../1/", r"models\[0\]\.prefix"),
        ("base-models/small/1/", "base-models/small/1", r"models\[0\]\.prefix"),
        ("base-models/small/1/", "/base-models/small/1/", r"models\[0\]\.prefix"),
        ("default = 3", "default = 30", r"FinetuneLoRA\.epochs\.default: must be .*10"),
        ("default = 3", 'default = "3"', r"FinetuneLoRA\.epochs\.default: must be of type int"),
        ("default = 3", "default = true", r"FinetuneLoRA\.epochs\.default: must be a whole number"),
        ("min = 1\n", "min = 11\n", r"FinetuneLoRA\.epochs: min 11.* is above max 10"),
        ('default = "cosine"', 'default = "cos"', r"FinetuneLoRA\.scheduler\.default: must be one of"),
        ('default = "cosine"', 'default = "cosine"\nmin = 1', r"FinetuneLoRA\.scheduler: a str has no min"),
        (
            'default = "cosine"',
            'default = "cosine"\nneeds = "epochs"',
            r"FinetuneLoRA\.scheduler\.needs: 'epochs' is no bool",
        ),
        ("[published]", "[published", "is not TOML"),
    ],
)
def test_a_faulty_model_file_is_refused_by_name_and_field(
    files: tuple[Path, Path], old: str, new: str, said: str
) -> None:
    assert old in MODELS
    files[0].write_text(MODELS.replace(old, new))
    with pytest.raises(CatalogError, match=said) as refusal:
        load_catalog(*files)
    assert str(refusal.value).startswith(str(files[0]))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"0.0010"', "0.0010", r": prices\[0\]\.LoRA: "),
        ('"0.0010"', '"-1"', r": prices\[0\]\.LoRA: "),
        ('"0.0010"', '"1e3"', r": prices\[0\]\.LoRA: "),
        ("LoRA", "Lora", r"prices\[0\]: unknown key 'Lora'; did you mean 'LoRA'\? there are model, version"),
        ("full =", "LoRA =", r"prices\[1\]\.LoRA: small 1 has a price already"),
        ('currency = "EUR"', 'currency = "Euro"', r": currency: "),
        ('version = "7"', "", ": version is missing"),
    ],
)
def test_a_faulty_price_table_is_refused_by_name_and_field(
    files: tuple[Path, Path], old: str, new: str, said: str
) -> None:
    assert old in PRICES
    files[1].write_text(PRICES.replace(old, new))
    with pytest.raises(CatalogError, match=said) as refusal:
        load_catalog(*files)
    assert str(refusal.value).startswith(str(files[1]))


def test_a_missing_or_unreadable_file_is_refused_by_name(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"none\.toml: cannot be read: No such file"):
        load_catalog(tmp_path / "none.toml", files[1])
    files[1].write_bytes(b"\xff")
    with pytest.raises(CatalogError, match=r"prices\.toml: is not TOML"):
        load_catalog(*files)


# --- preset datasets -------------------------------------------------------------------------------------------

PRESET = '[[presets.DPO]]\ndataset_id = "{name}"\nversion = "{version}"\n'


def test_preset_datasets_are_read_by_training_type_in_order(files: tuple[Path, Path]) -> None:
    models, prices = files
    models.write_text(MODELS + PRESET.format(name="a-2", version="2") + PRESET.format(name="b", version="1"))
    catalog = load_catalog(models, prices)

    assert [(each.dataset_id, each.version) for each in catalog.presets("DPO")] == [("a-2", "2"), ("b", "1")]
    assert catalog.presets("FinetuneSft") == ()


@pytest.mark.parametrize(
    ("presets", "said"),
    [
        (PRESET.format(name="a", version="1") * 2, "presets.DPO[1]: a is there already"),
        (PRESET.format(name="../a", version="1"), "presets"),
        (PRESET.format(name="a", version=""), "presets"),
        ('[[presets.Ranking]]\ndataset_id = "a"\nversion = "1"\n', "presets"),
        ('[[presets.DPO]]\ndataset_id = "a"\n', "version"),
    ],
)
def test_preset_datasets_that_cannot_be_are_refused(files: tuple[Path, Path], presets: str, said: str) -> None:
    models, prices = files
    models.write_text(MODELS + presets)

    with pytest.raises(CatalogError, match=re.escape(said)):
        load_catalog(models, prices)
