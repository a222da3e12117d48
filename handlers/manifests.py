"""What ``manifest.json`` says of a model: its files, why it was kept, and what it was made of."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from contracts.model import Descriptor, Expiry, Kept, Manifest
from contracts.training import FileDigest, Output
from handlers import layout
from handlers.planning.plan import Plan
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState

MANIFEST = "manifest.json"

#: What marks a base model in the bucket as complete: the foundation's own list of its files.
BASE_COMPLETE = "complete.json"

#: The CNCF's names for the parts of a model, so that registries know them.
_WEIGHTS = "application/vnd.cncf.model.weight.v1.raw"
_CONFIGURATION = "application/vnd.cncf.model.weight.config.v1.raw"
_DOCUMENT = "application/vnd.cncf.model.doc.v1.raw"

_TOKENIZER = ("tokenizer", "chat_template", "special_tokens_map", "added_tokens", "vocab", "merges")


class BaseRevision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which base a model was trained from: a foundation, or with ``model_id`` what an earlier task made of it.

    ``revision`` is the digest of the list of its files, None where there was none.
    """

    name: str
    version: str
    prefix: str
    model_id: str | None = None
    revision: str | None = None


def described(file: FileDigest) -> Descriptor:
    """Return a file as the manifest describes it. Pure."""
    return Descriptor(
        path=file.path, media_type=_media_type(file.path), digest=f"sha256:{file.sha256}", size=file.size_bytes
    )


def expired_when(expiry: Expiry) -> str:
    """Return what is to be said of a model whose time is over, after its name. Pure."""
    return f"expired on {expiry.at:%Y-%m-%d}, {expiry.retention_days:g} days after its export"


def kept_because(output: Output, outputs: Sequence[Output]) -> Kept:
    """Return why one of the outputs of a run was kept. ``outputs`` are all of them. Pure."""
    by_validation = sorted((each.validation_loss, each.step) for each in outputs if each.validation_loss is not None)
    judged = [step for _, step in by_validation]
    others = sorted((each.step for each in outputs if each.validation_loss is None), reverse=True)
    by_loss = output.step in judged
    distances = [abs(output.step - each.step) for each in outputs if each.step != output.step]
    return Kept(
        by="validation-loss" if by_loss else "last",
        rank=(judged if by_loss else others).index(output.step) + 1,
        steps=tuple(sorted(each.step for each in outputs)),
        distance=min(distances, default=None),
    )


def base_name(plan: Plan) -> str:
    """Return what a plan trains: ``name@version``, or the id of a model exported earlier. Pure."""
    return layout.base_name(plan.base_prefix, plan.base_model, plan.base_version)


async def base_of(plan: Plan, store: ObjectStore) -> BaseRevision:
    """Return which base a plan trains, pinned by what is in the bucket now. Raises Unavailable."""
    model_id = layout.exported_model(plan.base_prefix)
    listed = await store.get(layout.model(model_id) + MANIFEST if model_id else plan.base_prefix + BASE_COMPLETE)
    return BaseRevision(
        name=plan.base_model,
        version=plan.base_version,
        prefix=plan.base_prefix,
        model_id=model_id,
        revision=f"sha256:{layout.sha256_hex(listed.body)}" if listed else None,
    )


def manifest_of(
    model_id: str, state: TaskState, output: Output, plan: Plan, base: BaseRevision, files: Sequence[FileDigest]
) -> Manifest:
    """Return the manifest of an output: the same at every export of the same bytes. Pure."""
    metrics = {"loss": output.loss, "validation_loss": output.validation_loss}
    lineage = msgspec.to_builtins(plan) | {
        # Where the promoted attempt ran, which need not be where the first one did.
        "executor": state.executor,
        "resources": msgspec.to_builtins(state.resources),
        "base": msgspec.to_builtins(base),
        "tokenizer": {file.path: f"sha256:{file.sha256}" for file in files if file.path.startswith(_TOKENIZER)},
        "versions": dict(output.versions),
    }
    return Manifest(
        model_id=model_id,
        task_id=state.task_id,
        project=state.project,
        attempt=state.promoted or 0,
        step=output.step,
        kind=output.kind,
        files=tuple(described(file) for file in files),
        kept=kept_because(output, state.outputs),
        metrics={metric: value for metric, value in metrics.items() if value is not None},
        probe=output.probe,
        gguf=output.gguf,
        lineage=lineage,
    )


def _media_type(path: str) -> str:
    if path.endswith((".safetensors", ".gguf")):
        return _WEIGHTS
    return _DOCUMENT if path.endswith(".md") else _CONFIGURATION
