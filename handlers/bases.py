"""What a form wants to train: a foundation model of the catalogue, or a model that was exported earlier."""

from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contracts.model import Manifest
from contracts.probe import MERGED_FOLDER
from contracts.task import BaseModel, Fault
from handlers import layout
from handlers.manifests import MANIFEST, expired_when
from handlers.ports.catalog import Catalog, ModelEntry
from handlers.ports.store import ObjectStore

_FIELD = "base_model.custom_model_id"


class Base(NamedTuple):
    """The model to train, or None with what is wrong with its name; neither where none was named."""

    model: ModelEntry | None = None
    fault: Fault | None = None


class _Lineage(Struct, frozen=True, kw_only=True):
    """What a model's lineage must say for it to be trained on."""

    base_model: str
    base_version: str
    context_length: int


async def find(wanted: BaseModel | None, project: str, store: ObjectStore, catalog: Catalog) -> Base:
    """Return what is to be trained for a project, in the bucket or in the catalogue. Raises Unavailable.

    An exported model is its foundation with other weights: trained in the same ways, by the same rules and for the same
    price, with the tokenizer it was exported with. Of an adapter the merged weights are trained on where it has some,
    otherwise base and adapter, which the trainer puts together.
    """
    if wanted is None or wanted.custom_model_id is None:
        return of_catalogue(wanted, catalog)
    name = wanted.custom_model_id
    stored = await store.get(layout.model(name) + MANIFEST)
    if stored is None:
        return _refused("unknown-model", f"there is no exported model {name} (any more); name one of model.exported")
    try:
        manifest = msgspec.json.decode(stored.body, type=Manifest)
        lineage = msgspec.convert(manifest.lineage, _Lineage)
    except msgspec.MsgspecError as error:
        return _refused("not-available", f"the manifest of {name} cannot be used: {error}; export the model again")
    if manifest.project != project:
        return _refused("not-available", f"{name} is a model of another project; name one of {project}")
    if manifest.expiry is not None:
        return _refused("not-available", f"{name} {expired_when(manifest.expiry)}; name another, or train it again")
    foundation = catalog.model(lineage.base_model, lineage.base_version)
    if foundation is None:
        whose = f"{lineage.base_model}@{lineage.base_version}, which {name} was made of"
        return _refused("not-available", f"{whose}, is not in the catalogue any more; choose another model")
    return Base(replace(foundation, prefix=_prefix(name, manifest), context_length=lineage.context_length))


def of_catalogue(wanted: BaseModel | None, catalog: Catalog) -> Base:
    """Return a foundation model, or why it cannot be trained; an exported one is none of the catalogue's. Pure."""
    if wanted is None or wanted.foundation is None:
        return Base()
    name, version = wanted.foundation.name, wanted.foundation.version
    if model := catalog.model(name, version):
        return Base(model)
    known = ", ".join(f"{entry.name}@{entry.version}" for entry in catalog.models())
    message = f"{name}@{version} is not in the catalogue; choose one of {known}"
    return Base(fault=Fault("base_model.foundation", "unknown-model", message))


def _prefix(name: str, manifest: Manifest) -> str:
    merged = any(file.path.startswith(f"{MERGED_FOLDER}/") for file in manifest.files)
    return layout.model(name) + (f"{MERGED_FOLDER}/" if merged else "")


def _refused(code: str, message: str) -> Base:
    return Base(fault=Fault(_FIELD, code, message))
