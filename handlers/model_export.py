"""task.status (Completing) -> model.exported, one a kept output, then task.status (Completed)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.model import Manifest, ModelExported
from contracts.task import Phase, TaskStatus
from contracts.training import Failure, FileDigest, Output
from handlers import attempts, compare_and_set, layout, task_state
from handlers.errors import OutsideBucket
from handlers.manifests import MANIFEST, base_name, base_of, kept_because, manifest_of
from handlers.model_card import model_card
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.plan import Plan
from handlers.ports import Clock, ObjectStore, Receipts
from handlers.task_state import TaskState

STAGE = "model-export"

#: Ours, whatever a trainer left under this name, as the manifest is.
CARD = "README.md"

#: Never exported, whatever a trainer left: a pickle runs code when it is loaded.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class ForeignOutput(Exception):
    """An output that is not under its attempt's own prefix, or holds what may not be exported."""


async def export_models(event: Event[TaskStatus], *, store: ObjectStore, receipts: Receipts, clock: Clock) -> Outcome:
    """Copy the promoted attempt's kept outputs into the model repository, manifest last, and complete the task.

    Idempotent by (task, promoted attempt, step): a duplicate says the recorded exports again. Weights are copied inside
    the bucket and never pass through this process.
    """
    if event.data.phase is not Phase.COMPLETING:
        # Nearly every status, one a fold of progress: none of them may cost the bucket a request.
        return Outcome(name="nothing-to-export")
    # The event says where to look; the state says what holds. An event of years ago starts nothing.
    state = await task_state.read(store, event.data.task_id)
    if state is None or state.promoted is None:
        return Outcome(name="nothing-to-export")
    if state.phase is not Phase.COMPLETING:
        again = await recorded(state, receipts)
        return Outcome(name="already-ended", events=again + task_state.said(state, event, STAGE))
    said, fault = await _export_all(event, state, store, receipts)

    def ended(now: TaskState | None) -> TaskState | None:
        if now is None or now.phase is not Phase.COMPLETING:
            return None
        if fault is not None:
            return attempts.ended(now, Failure("export-refused", "platform", fault, retryable=False))
        return replace(now, phase=Phase.COMPLETED, reason="completed", party=None, message=_kept(now.outputs))

    state = await task_state.change(store, clock, state.task_id, ended)
    assert state is not None
    name = "exported" if fault is None else "export-refused"
    return Outcome(name=name, events=(*said, *task_state.said(state, event, STAGE)))


def _kept(outputs: Sequence[Output]) -> str:
    """Say how many models there are, and how far apart: of neighbours one alone tells little more than the other."""
    distances = [kept_because(output, outputs).distance for output in outputs]
    apart = min((distance for distance in distances if distance is not None), default=None)
    steps = "" if apart is None else f", at least {apart} step{'s' * (apart != 1)} apart"
    return f"{len(outputs)} model{'s' * (len(outputs) != 1)} in the repository{steps}"


async def recorded(state: TaskState, receipts: Receipts) -> tuple[Event[Any], ...]:
    """Return what was said of a task's exported models, as it was said then."""
    found = [await receipts.recorded(STAGE, _key(state, output)) for output in state.outputs]
    return tuple(said for outcome in found if outcome for said in outcome.events)


async def restore(event: Event[Any], state: TaskState, *, store: ObjectStore, receipts: Receipts) -> str | None:
    """Copy again what is missing of a completed task's models; return why that is not possible, or None.

    Idempotent; what is there stays as it is.
    """
    _, fault = await _export_all(event, state, store, receipts, missing_only=True)
    return fault


async def _export_all(
    event: Event[Any], state: TaskState, store: ObjectStore, receipts: Receipts, *, missing_only: bool = False
) -> tuple[list[Event[Any]], str | None]:
    """Export every kept output; return what is said of them, and why that is not all."""
    plan = await compare_and_set.read(store, layout.task(state.task_id, "plan"), Plan)
    assert plan is not None, "a promoted task was dispatched, so it has a plan"
    said: list[Event[Any]] = []
    try:
        for output in state.outputs:
            _checked_source(state, output, store)
        for output in state.outputs:
            said += (await _export(event, state, output, plan, store, receipts)).events
            if missing_only:
                await _complete(state, output, plan, store)
    except (ForeignOutput, OutsideBucket, FileNotFoundError) as error:
        # Trying again would not help, and a dead letter would leave the task in Completing for good.
        return said, str(error)
    return said, None


async def _export(
    event: Event[Any], state: TaskState, output: Output, plan: Plan, store: ObjectStore, receipts: Receipts
) -> Outcome:
    async def work() -> Decision:
        manifest = await _copy(state, output, plan, store, _exported(output))
        prefix = layout.model(manifest.model_id)
        said = ModelExported(
            model_id=manifest.model_id,
            task_id=state.task_id,
            project=state.project,
            attempt=manifest.attempt,
            step=output.step,
            kind=output.kind,
            uri=store.uri(prefix),
            manifest_uri=store.uri(prefix + MANIFEST),
            size_bytes=sum(file.size for file in manifest.files),
            base_model=base_name(plan),
            loss=output.loss,
            validation_loss=output.validation_loss,
        )
        return Decision(name="exported", follow_ons=(FollowOn("model.exported", state.task_id, said),))

    return await receipts.once(STAGE, _key(state, output), event, work)


async def _copy(
    state: TaskState, output: Output, plan: Plan, store: ObjectStore, files: Sequence[FileDigest]
) -> Manifest:
    """Copy files of an output into its model, then write the card and last the manifest; return that."""
    source = _checked_source(state, output, store)
    name = model_id(state.task_id, state.promoted or 0, output.step)
    prefix = layout.model(name)
    for file in files:
        await store.copy(source + file.path, prefix + file.path)
    card = model_card(name, plan, output, kept_because(output, state.outputs)).encode()
    await store.put(prefix + CARD, card)
    described = (*_exported(output), FileDigest(CARD, len(card), layout.sha256_hex(card)))
    manifest = manifest_of(name, state, output, plan, await base_of(plan, store), described)
    await compare_and_set.first(store, prefix + MANIFEST, manifest)
    return manifest


async def _complete(state: TaskState, output: Output, plan: Plan, store: ObjectStore) -> None:
    """Copy what is not there of a model; all that is there stays."""
    prefix = layout.model(model_id(state.task_id, state.promoted or 0, output.step))
    there = {info.key.removeprefix(prefix): info.size_bytes async for info in store.list(prefix)}
    missing = [file for file in _exported(output) if there.get(file.path) != file.size_bytes]
    if missing or not {CARD, MANIFEST} <= there.keys():
        await _copy(state, output, plan, store, missing)


def _key(state: TaskState, output: Output) -> str:
    return f"{state.task_id}/{state.promoted}/{output.step}"


def model_id(task_id: str, attempt: int, step: int) -> str:
    """Return the id of a kept output: readable, at most 128 characters, and the same at every export."""
    return f"{task_id[:90]}-step{step}-{layout.digest(task_id, attempt, step)[:8]}"


def _checked_source(state: TaskState, output: Output, store: ObjectStore) -> str:
    prefix = store.key(output.uri)
    prefix += "" if prefix.endswith("/") else "/"
    if not prefix.startswith(layout.attempt(state.task_id, state.promoted or 0)):
        raise ForeignOutput(f"{output.uri} is not under the prefix of attempt {state.promoted}")
    for file in output.files:
        odd = any(part in ("", ".", "..") for part in file.path.split("/"))
        if odd or file.path == MANIFEST or file.path.lower().endswith(_PICKLES):
            raise ForeignOutput(f"{output.uri}: {file.path!r} may not be exported")
    return prefix


def _exported(output: Output) -> list[FileDigest]:
    """Return the files that are copied: all but a model card of the trainer's, in whose place ours goes."""
    return [file for file in output.files if file.path != CARD]
