"""task.status (Completing) -> model.exported, one a kept output, then task.status (Completed)."""

from typing import Any

import msgspec
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.model import Manifest, ModelExported
from contracts.task import Phase, TaskStatus
from contracts.training import FileDigest, Output
from handlers import compare_and_set, layout, task_state
from handlers.model_card import model_card
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.plan import Plan
from handlers.ports import Clock, ObjectStore, Receipts
from handlers.task_state import TaskState

STAGE = "model-export"

#: Never exported, whatever a trainer left: a pickle runs code when it is loaded.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


class ForeignOutput(Exception):
    """An output that is not under its attempt's own prefix, or holds what may not be exported."""


async def export_models(event: Event[TaskStatus], *, store: ObjectStore, receipts: Receipts, clock: Clock) -> Outcome:
    """Copy the promoted attempt's kept outputs into the model repository, manifest last, and complete the task.

    Idempotent by (task, promoted attempt, step): a duplicate says the recorded exports again. Weights are copied inside
    the bucket and never pass through this process.
    """
    state = await task_state.read(store, event.data.task_id)
    # The event says where to look; the state says what holds. An event of years ago starts nothing.
    if event.data.phase is not Phase.COMPLETING or state is None or state.promoted is None or state.deleted:
        return Outcome(name="nothing-to-export")
    plan = await compare_and_set.read(store, layout.task(state.task_id, "plan"), Plan)
    assert plan is not None, "a promoted task was dispatched, so it has a plan"
    said: list[Event[Any]] = []
    for output in state.outputs:
        outcome = await _export(event, state, output, plan, store, receipts)
        said += outcome.events

    def completed(now: TaskState | None) -> TaskState | None:
        if now is None or now.phase is not Phase.COMPLETING:
            return None
        message = f"{len(now.outputs)} model{'s' * (len(now.outputs) != 1)} in the repository"
        return replace(now, phase=Phase.COMPLETED, reason="completed", party=None, message=message)

    state = await task_state.change(store, clock, state.task_id, completed)
    assert state is not None
    said += task_state.said(state, event, STAGE)
    return Outcome(name="exported", events=tuple(said))


async def _export(
    event: Event[Any], state: TaskState, output: Output, plan: Plan, store: ObjectStore, receipts: Receipts
) -> Outcome:
    async def work() -> Decision:
        source = _checked_source(state, output, store)
        name = model_id(state.task_id, state.promoted or 0, output.step)
        prefix = layout.model(name)
        for file in output.files:
            await store.copy(source + file.path, prefix + file.path)
        card = model_card(name, plan, output).encode()
        await store.put(prefix + "README.md", card)
        manifest = _manifest(name, state, output, plan, card)
        await compare_and_set.first(store, prefix + "manifest.json", manifest)
        said = ModelExported(
            model_id=name,
            task_id=state.task_id,
            project=state.project,
            attempt=manifest.attempt,
            step=output.step,
            kind=output.kind,
            uri=store.uri(prefix),
            manifest_uri=store.uri(prefix + "manifest.json"),
            size_bytes=sum(file.size_bytes for file in manifest.files),
            base_model=f"{plan.base_model}@{plan.base_version}",
            loss=output.loss,
            validation_loss=output.validation_loss,
        )
        return Decision(name="exported", follow_ons=(FollowOn("model.exported", state.task_id, said),))

    return await receipts.once(STAGE, f"{state.task_id}/{state.promoted}/{output.step}", event, work)


def model_id(task_id: str, attempt: int, step: int) -> str:
    """Return the id of a kept output: readable, at most 128 characters, and the same at every export."""
    return f"{task_id[:90]}-step{step}-{layout.digest(task_id, attempt, step)[:8]}"


def _checked_source(state: TaskState, output: Output, store: ObjectStore) -> str:
    prefix = store.key(output.uri)
    prefix += "" if prefix.endswith("/") else "/"
    if not prefix.startswith(layout.attempt(state.task_id, state.promoted or 0)):
        raise ForeignOutput(f"{output.uri} is not under the prefix of attempt {state.promoted}")
    for file in output.files:
        if file.path.endswith(_PICKLES) or ".." in file.path.split("/") or file.path.startswith("/"):
            raise ForeignOutput(f"{output.uri}: {file.path} may not be exported")
    return prefix


def _manifest(name: str, state: TaskState, output: Output, plan: Plan, card: bytes) -> Manifest:
    metrics = {"loss": output.loss, "validation_loss": output.validation_loss}
    return Manifest(
        model_id=name,
        task_id=state.task_id,
        attempt=state.promoted or 0,
        step=output.step,
        kind=output.kind,
        files=(*output.files, FileDigest("README.md", len(card), layout.sha256_hex(card))),
        metrics={metric: value for metric, value in metrics.items() if value is not None},
        lineage=msgspec.to_builtins(plan),
    )
