"""Refs: the only mutable names of models, ``refs/<project>/<name>``. A model that one names does not expire."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct

from contracts.model import Manifest
from handlers import compare_and_set, layout
from handlers.manifests import MANIFEST, expired_when
from handlers.ports.store import ObjectStore


class Ref(Struct, frozen=True, kw_only=True):
    """What a name means: a model of its project, or None since it was taken away."""

    model_id: str | None


class Tagged(NamedTuple):
    """A ref as it is now, and which model it meant before."""

    name: str
    model_id: str | None
    before: str | None


class CannotTag(Exception):
    """The ref was left as it was. The text says why, for people."""


async def tag(store: ObjectStore, name: str, model_id: str, *, replaces: str | None = None) -> Tagged:
    """Let a name mean a model, in the model's own project. Idempotent.

    With ``replaces`` only where the name means that model until now.

    Raises:
        CannotTag: there is no such model or it expired, also just now; or the name means another than ``replaces``.
        Transient: others changed the ref again and again, or the bucket does not answer.
    """
    key = layout.ref((await _usable(store, model_id)).project, name)
    wrong = f"it does not mean {replaces}"
    before = await _changed(store, key, model_id, lambda meant: replaces in (None, meant), wrong)
    try:
        # Again: now that the ref can be seen, nobody marks the model any more. See retention.py.
        await _usable(store, model_id)
    except CannotTag:
        with suppress(CannotTag):  # it means another model meanwhile
            await _changed(store, key, before, lambda meant: meant == model_id, "")
        raise
    return Tagged(key, model_id, before)


async def untag(store: ObjectStore, ref: str) -> Tagged:
    """Let a ref mean no model any more. Idempotent. Raises CannotTag where there is none, and Transient."""
    if await compare_and_set.read(store, ref, Ref) is None:
        raise CannotTag(f"there is no {ref}")
    return Tagged(ref, None, await _changed(store, ref, None, lambda _: True, ""))


async def all_refs(store: ObjectStore) -> dict[str, str]:
    """Return every ref that means a model, and which. Raises Unavailable."""
    keys = [found.key async for found in store.list(layout.REFS)]
    read = {key: await compare_and_set.read(store, key, Ref) for key in keys}
    return {key: ref.model_id for key, ref in read.items() if ref and ref.model_id}


async def _changed(
    store: ObjectStore, key: str, model_id: str | None, may: Callable[[str | None], bool], why_not: str
) -> str | None:
    """Let a ref mean a model, by compare-and-set, where it may by what it means until now; return that."""
    before: str | None = None

    def decided(found: Ref | None) -> Ref | None:
        nonlocal before
        before = found.model_id if found else None
        if before == model_id:
            return None
        if not may(before):
            raise CannotTag(f"{key} means {before or 'no model'}: {why_not}")
        return Ref(model_id=model_id)

    await compare_and_set.update(store, key, Ref, decided)
    return before


async def _usable(store: ObjectStore, model_id: str) -> Manifest:
    manifest = await compare_and_set.read(store, layout.model(model_id) + MANIFEST, Manifest)
    if manifest is None:
        raise CannotTag(
            f"no model {model_id}, or its export is not finished; worker models list shows the models there are"
        )
    if manifest.expiry is not None:
        raise CannotTag(f"{model_id} {expired_when(manifest.expiry)}")
    return manifest
