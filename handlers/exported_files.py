"""A kept output's files in the model repository: copied once, manifest last; put back as the manifest names them."""

from collections.abc import Sequence

from contracts.model import Descriptor, Manifest
from contracts.training import FileDigest, Output
from handlers import compare_and_set, layout
from handlers.manifests import MANIFEST, base_of, described, expired_when, kept_because, manifest_of
from handlers.model_card import model_card
from handlers.planning.plan import Plan
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState

#: Ours, whatever a trainer left under this name, as the manifest is.
CARD = "README.md"

#: Never exported, whatever a trainer left: a pickle runs code when it is loaded.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class ForeignOutput(Exception):
    """An output that is not under its attempt's own prefix, or holds what may not be exported."""


class Irreproducible(Exception):
    """Files of a model are gone for good: it expired, or what could be put there is not what its manifest names."""


def model_id(task_id: str, attempt: int, step: int) -> str:
    """Return the id of a kept output: readable, at most 128 characters, and the same at every export."""
    return f"{task_id[:90]}-step{step}-{layout.digest(task_id, attempt, step)[:8]}"


def checked_source(state: TaskState, output: Output, store: ObjectStore) -> str:
    """Return the prefix of an output. Raises ForeignOutput, or OutsideBucket, where it may not be exported."""
    prefix = store.key(output.uri)
    prefix += "" if prefix.endswith("/") else "/"
    if not prefix.startswith(layout.attempt(state.task_id, state.promoted or 0)):
        raise ForeignOutput(f"{output.uri} is not under the prefix of attempt {state.promoted}")
    for file in output.files:
        odd = any(part in ("", ".", "..") for part in file.path.split("/"))
        if odd or file.path == MANIFEST or file.path.lower().endswith(_PICKLES):
            raise ForeignOutput(f"{output.uri}: {file.path!r} may not be exported")
    return prefix


async def write_model(state: TaskState, output: Output, plan: Plan, store: ObjectStore) -> Manifest:
    """Return the manifest of an output's model, which is copied and described where there is none.

    A manifest that stands holds, whichever version of this code wrote it: it was written last, so nothing is missing.
    Idempotent. Raises ForeignOutput, OutsideBucket, FileNotFoundError.
    """
    held = await compare_and_set.read(store, _prefix(state, output) + MANIFEST, Manifest)
    return held or await _written(state, output, plan, store, _exported(output))


async def complete_model(state: TaskState, output: Output, plan: Plan, store: ObjectStore) -> None:
    """Put back what is missing of a model, or was cut; all that is there stays. Idempotent.

    Raises Irreproducible for a model that expired, and, once all else is there, for what the manifest names and nobody
    can make any more; else as ``write_model`` does.
    """
    prefix = _prefix(state, output)
    there = {info.key.removeprefix(prefix): info.size_bytes async for info in store.list(prefix)}
    held = await compare_and_set.read(store, prefix + MANIFEST, Manifest)
    if held is not None and held.expiry is not None:
        raise Irreproducible(f"{held.model_id} {expired_when(held.expiry)}")
    if held is None:
        missing = [file for file in _exported(output) if there.get(file.path) != file.size_bytes]
        await _written(state, output, plan, store, missing)
    else:
        gone = [file for file in held.files if there.get(file.path) != file.size]
        await _put_back(gone, state, output, plan, store)


async def _written(
    state: TaskState, output: Output, plan: Plan, store: ObjectStore, files: Sequence[FileDigest]
) -> Manifest:
    """Copy files of an output, then write the card and last the manifest; return that, as it was written first."""
    source, prefix = checked_source(state, output, store), _prefix(state, output)
    for file in files:
        await store.copy(source + file.path, prefix + file.path)
    # The one that stands may be of another version of this code, which was killed, or writes the manifest meanwhile.
    card = await compare_and_set.first_bytes(store, prefix + CARD, _card(state, output, plan))
    digests = (*_exported(output), _digest(card))
    manifest = manifest_of(_name(state, output), state, output, plan, await base_of(plan, store), digests)
    return await compare_and_set.first(store, prefix + MANIFEST, manifest)


async def _put_back(
    gone: Sequence[Descriptor], state: TaskState, output: Output, plan: Plan, store: ObjectStore
) -> None:
    source, prefix = checked_source(state, output, store), _prefix(state, output)
    card = _card(state, output, plan)
    at_hand = {file.path: described(file).digest for file in (*_exported(output), _digest(card))}
    for file in gone:
        if at_hand.get(file.path) != file.digest:
            continue
        if file.path == CARD:
            await store.put(prefix + CARD, card)
        else:
            await store.copy(source + file.path, prefix + file.path)
    if lost := [file.path for file in gone if at_hand.get(file.path) != file.digest]:
        message = "is gone or was cut, and would not be what the manifest names if it were written again"
        raise Irreproducible(f"{_name(state, output)}: {', '.join(lost)} {message}")


def _card(state: TaskState, output: Output, plan: Plan) -> bytes:
    return model_card(_name(state, output), plan, output, kept_because(output, state.outputs)).encode()


def _digest(card: bytes) -> FileDigest:
    return FileDigest(CARD, len(card), layout.sha256_hex(card))


def _exported(output: Output) -> list[FileDigest]:
    """Return the files that are copied: all but a model card of the trainer's, in whose place ours goes."""
    return [file for file in output.files if file.path != CARD]


def _name(state: TaskState, output: Output) -> str:
    return model_id(state.task_id, state.promoted or 0, output.step)


def _prefix(state: TaskState, output: Output) -> str:
    return layout.model(_name(state, output))
