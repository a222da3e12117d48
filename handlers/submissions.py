"""A submitted form: the claim on its task id, and every fault it has."""

from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import DEFAULT_PROJECT, Event
from contracts.form import FormReading, form_digest, read_form
from contracts.hyperparameters import resolve
from contracts.task import Fault, TaskForm, TaskSubmission
from handlers import bases, compare_and_set, layout
from handlers.bases import Base
from handlers.planning.build import FORMATS
from handlers.ports.catalog import Catalog, ModelEntry
from handlers.ports.store import ObjectStore

_NOT_JUDGED = "the hyperparameters depend on it, and were not judged"


class Submission(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form that won a task id, as it was sent. ``traceparent`` is where in a trace it came."""

    task_id: str
    digest: str
    form: msgspec.Raw
    submitted_at: datetime
    traceparent: str | None = None


class Judged(Struct, frozen=True, kw_only=True):
    """A form with everything that is wrong with it, by itself and against the catalogue.

    ``project`` is whose it is, also where the form has faults; the default where that is one of them.
    """

    form: TaskForm | None
    model: ModelEntry | None
    hyperparameters: dict[str, int | float | bool | str]
    faults: tuple[Fault, ...]
    project: str = DEFAULT_PROJECT


async def claim(store: ObjectStore, event: Event[TaskSubmission]) -> tuple[Submission, bool]:
    """Return the form that won the task id, and whether it is this one. Idempotent: the first wins for good."""
    mine = Submission(
        task_id=event.data.task_id,
        digest=form_digest(event.body),
        form=msgspec.Raw(event.body),
        submitted_at=event.time,
        traceparent=event.traceparent,
    )
    held = await compare_and_set.first(store, layout.task(mine.task_id, "form"), mine)
    return held, held.digest == mine.digest


async def load(store: ObjectStore, task_id: str) -> Submission | None:
    """Return the form that won the task id, or None before one was submitted."""
    return await compare_and_set.read(store, layout.task(task_id, "form"), Submission)


async def judged(body: bytes, catalog: Catalog, store: ObjectStore) -> Judged:
    """Return a form and all its faults at once: also those of a base that was exported earlier. Raises Unavailable."""
    reading = read_form(body)
    return _judged(reading, catalog, await bases.find(reading.draft.base_model, reading.project, store, catalog))


def judge(body: bytes, catalog: Catalog) -> Judged:
    """Return a form and all its faults at once, where no bucket is at hand: an exported model cannot be found. Pure."""
    reading = read_form(body)
    base = bases.of_catalogue(reading.draft.base_model, catalog)
    if reading.draft.base_model and reading.draft.base_model.custom_model_id:
        message = "an exported model can only be found where its bucket is at hand; name a foundation model"
        base = Base(fault=Fault("base_model.custom_model_id", "not-available", message))
    return _judged(reading, catalog, base)


def _judged(reading: FormReading, catalog: Catalog, base: Base) -> Judged:
    faults = list(reading.faults)
    draft = reading.draft
    model = base.model
    faults += [base.fault] if base.fault else []
    faults += _training_type_faults(draft.training_type, model, catalog)
    rules = model.training_types.get(draft.training_type) if model and draft.training_type else None
    hyperparameters: dict[str, int | float | bool | str] = {}
    if rules is not None:
        # A form that names none has every default.
        hyperparameters, wrong = resolve(draft.hyperparameters or {}, rules)
        faults += wrong
    elif draft.hyperparameters:
        faults = _without_hyperparameters(faults)
    if draft.preset_mix is not None and draft.training_type and not catalog.presets(draft.training_type):
        message = "no preset dataset is configured for this training type; switch the preset mix off"
        faults.append(Fault("preset_mix", "no-preset-dataset", message))
    return Judged(
        form=reading.form if not faults else None,
        model=model,
        hyperparameters=hyperparameters,
        faults=tuple(faults),
        project=reading.project,
    )


def _without_hyperparameters(faults: list[Fault]) -> list[Fault]:
    """Return faults of which the one in the way says that hyperparameters, whose rules it decides, were not judged."""
    why = next((fault for fault in faults if fault.field.startswith(("base_model", "training_type"))), None)
    return [replace(fault, message=f"{fault.message}; {_NOT_JUDGED}") if fault is why else fault for fault in faults]


def _training_type_faults(training_type: str | None, model: ModelEntry | None, catalog: Catalog) -> list[Fault]:
    if training_type is None or training_type not in FORMATS:
        return []  # the form's own fault says so: FORMATS has every training type (a test sees to it)
    if not catalog.published(training_type):
        message = f"{training_type} is not open yet; choose another training type"
        return [Fault("training_type", "not-published", message)]
    if model and training_type not in model.training_types:
        message = f"{training_type} is not available for {model.name}; choose one of {', '.join(model.training_types)}"
        return [Fault("training_type", "not-available", message)]
    return []
