"""The catalogue, and whether the bucket has what it offers: tokenizers to count with, weights to train."""

import asyncio
from typing import NamedTuple

from handlers.errors import Unavailable
from handlers.ports import ModelEntry, ObjectStore
from worker.catalog import load_catalog
from worker.doctor.finding import Finding, note, ok, unchecked, wrong
from worker.settings import Settings, SettingsError
from worker.storage import directory_of, is_directory, open_store
from worker.tokens.files import TOKENIZER_FILE

_TOKENIZER, _WEIGHTS = TOKENIZER_FILE, "weights (*.safetensors)"


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
            found = [_Found(model, store.uri(model.prefix), await _lacks(store, model)) for model in models]
    except (SettingsError, Unavailable):
        return [unchecked(about, "bucket or catalogue cannot be used, see there")]
    # Whoever takes the shipped catalogue does not promise all that is in it.
    promised = settings.models_file is not None or all(each.lacks for each in found)
    spared = [] if promised else [each for each in found if each.lacks == [_TOKENIZER, _WEIGHTS]]
    findings = [_wrong(each) for each in found if each.lacks and each not in spared]
    if spared:
        names = ", ".join(_name(each.model) for each in spared)
        remedy = "for those that users should choose: python -m worker.trainer.base_models NAME"
        findings.append(note(about, f"of the shipped ones not in the bucket: {names}", remedy))
    return findings or [ok(about, f"all {len(models)} are in the bucket")]


class _Found(NamedTuple):
    model: ModelEntry
    place: str
    lacks: list[str]


async def _lacks(store: ObjectStore, model: ModelEntry) -> list[str]:
    names = [found.key.removeprefix(model.prefix) async for found in store.list(model.prefix)]
    has_weights = any(name.endswith(".safetensors") for name in names)
    return [*([] if TOKENIZER_FILE in names else [_TOKENIZER]), *([] if has_weights else [_WEIGHTS])]


def _wrong(found: _Found) -> Finding:
    return wrong(
        "base models",
        f"{_name(found.model)}: no {' and no '.join(found.lacks)} under {found.place}",
        f"put its files there (of the shipped ones: python -m worker.trainer.base_models {found.model.name}), "
        "or take it out of WORKER_MODELS_FILE",
    )


def _models(settings: Settings) -> list[ModelEntry]:
    return list(load_catalog(settings.models_file, settings.prices_file).models())


def _name(model: ModelEntry) -> str:
    return f"{model.name}@{model.version}"
