"""The catalogue, and whether the bucket has what it offers: tokenizers to count with, weights to train."""

import asyncio
from typing import NamedTuple

from handlers.errors import Unavailable
from handlers.ports.catalog import ModelEntry
from handlers.ports.store import ObjectStore
from worker.catalog import load_catalog
from worker.doctor.finding import Finding, note, ok, unchecked, wrong
from worker.settings import Settings, SettingsError
from worker.storage import directory_of, is_directory, open_store
from worker.tokens.files import TOKENIZER_FILE

_TOKENIZER, _WEIGHTS = TOKENIZER_FILE, "weights (*.safetensors)"
#: The command that puts a shipped model into the bucket.
_PUT = "python -m worker.trainer.base_models"


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
    findings = _of_shipped(found) if settings.models_file is None else [_promised(each) for each in found if each.lacks]
    return findings or [ok(about, f"all {len(models)} are in the bucket")]


class _Found(NamedTuple):
    model: ModelEntry
    place: str
    lacks: list[str]


async def _lacks(store: ObjectStore, model: ModelEntry) -> list[str]:
    names = [found.key.removeprefix(model.prefix) async for found in store.list(model.prefix)]
    has_weights = any(name.endswith(".safetensors") for name in names)
    return [*([] if TOKENIZER_FILE in names else [_TOKENIZER]), *([] if has_weights else [_WEIGHTS])]


def _of_shipped(found: list[_Found]) -> list[Finding]:
    """Return what is to be said where nobody chose the models: some have to be there, and what is there whole."""
    absent = [each for each in found if each.lacks == [_TOKENIZER, _WEIGHTS]]
    names = ", ".join(_name(each.model) for each in absent)
    if len(absent) == len(found):
        return [wrong("base models", f"none is in the bucket; shipped are {names}", f"{_PUT} NAME")]
    findings = [
        wrong("base models", _text(each), f"{_PUT} {each.model.name}")
        for each in found
        if each.lacks and each not in absent
    ]
    if absent:
        text = f"of the shipped ones not in the bucket: {names}"
        findings.append(note("base models", text, f"for those that users should choose: {_PUT} NAME"))
    return findings


def _promised(found: _Found) -> Finding:
    remedy = f"put its files there (a shipped one: {_PUT} {found.model.name}), or take it out of WORKER_MODELS_FILE"
    return wrong("base models", _text(found), remedy)


def _text(found: _Found) -> str:
    return f"{_name(found.model)}: no {' and no '.join(found.lacks)} under {found.place}"


def _models(settings: Settings) -> list[ModelEntry]:
    return list(load_catalog(settings.models_file, settings.prices_file).models())


def _name(model: ModelEntry) -> str:
    return f"{model.name}@{model.version}"
