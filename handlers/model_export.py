"""task.status (Completing) -> model.exported, one a kept output, then task.status (Completed)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.model import ModelExported
from contracts.task import Phase, TaskStatus
from contracts.training import Failure, Output
from handlers import attempts, compare_and_set, layout, task_state
from handlers.errors import OutsideBucket
from handlers.exported_files import ForeignOutput, Irreproducible, checked_source, complete_model, write_model
from handlers.manifests import MANIFEST, base_name, kept_because
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.plan import Plan
from handlers.ports.clock import Clock
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState

STAGE = "model-export"


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


async def exported_at(task_id: str, attempt: int, step: int, receipts: Receipts) -> datetime | None:
    """Return when a model was first said to be exported, or None where it has not been. Raises Unavailable."""
    outcome = await receipts.recorded(STAGE, _named(task_id, attempt, step))
    return outcome.events[0].time if outcome and outcome.events else None


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
    lost: list[str] = []
    try:
        for output in state.outputs:
            checked_source(state, output, store)
        for output in state.outputs:
            said += (await _export(event, state, output, plan, store, receipts)).events
            lost += await _lost(state, output, plan, store) if missing_only else ()
    except (ForeignOutput, OutsideBucket, FileNotFoundError) as error:
        # Trying again would not help, and a dead letter would leave the task in Completing for good.
        return said, str(error)
    return said, "; ".join(lost) or None


async def _lost(state: TaskState, output: Output, plan: Plan, store: ObjectStore) -> list[str]:
    """Copy again what is missing of a model; return what cannot be, which keeps none of the other models away."""
    try:
        await complete_model(state, output, plan, store)
    except Irreproducible as error:
        return [str(error)]
    return []


async def _export(
    event: Event[Any], state: TaskState, output: Output, plan: Plan, store: ObjectStore, receipts: Receipts
) -> Outcome:
    async def work() -> Decision:
        manifest = await write_model(state, output, plan, store)
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


def _key(state: TaskState, output: Output) -> str:
    return _named(state.task_id, state.promoted or 0, output.step)


def _named(task_id: str, attempt: int, step: int) -> str:
    return f"{task_id}/{attempt}/{step}"
