"""The catalogue, and whether the bucket has what it offers: tokenizers to count with, weights to train."""

import asyncio

from handlers.errors import Unavailable
from handlers.ports import ModelEntry, ObjectStore
from worker.catalog import load_catalog
from worker.doctor.finding import Finding, ok, unchecked, wrong
from worker.settings import Settings, SettingsError
from worker.storage import directory_of, is_directory, open_store
from worker.tokens.files import TOKENIZER_FILE


async def check_catalogue(settings: Settings) -> list[Finding]:
    """Return whether catalogue and price table can be used, and the models in it."""
    about = "catalogue"
    try:
        models = await asyncio.to_thread(_models, settings)
    except SettingsError as error:
        return [wrong(about, str(error), "mend the file that WORKER_MODELS_FILE or WORKER_PRICES_FILE names")]
    return [ok(about, ", ".join(map(_name, models)))]


async def check_base_models(settings: Settings) -> list[Finding]:
    """Return the models that users may choose and the bucket does not have. Costs a listing a model."""
    about = "base models"
    try:
        models = await asyncio.to_thread(_models, settings)
        if is_directory(settings.storage_url) and not directory_of(settings.storage_url).is_dir():
            return [unchecked(about, "there is no bucket yet")]
        async with open_store(settings) as store:
            found = [await _missing(store, model) for model in models]
    except (SettingsError, Unavailable):
        return [unchecked(about, "bucket or catalogue cannot be used, see there")]
    return [each for each in found if each] or [ok(about, f"all {len(models)} are in the bucket")]


async def _missing(store: ObjectStore, model: ModelEntry) -> Finding | None:
    names = [found.key.removeprefix(model.prefix) async for found in store.list(model.prefix)]
    lacks = [] if TOKENIZER_FILE in names else [f"no {TOKENIZER_FILE}"]
    if not any(name.endswith(".safetensors") for name in names):
        lacks.append("no weights (*.safetensors)")
    if not lacks:
        return None
    return wrong(
        "base models",
        f"{_name(model)}: {' and '.join(lacks)} under {store.uri(model.prefix)}",
        f"put its files there (of the shipped ones: python -m worker.trainer.base_models {model.name}), "
        "or take it out of WORKER_MODELS_FILE",
    )


def _models(settings: Settings) -> list[ModelEntry]:
    return list(load_catalog(settings.models_file, settings.prices_file).models())


def _name(model: ModelEntry) -> str:
    return f"{model.name}@{model.version}"
