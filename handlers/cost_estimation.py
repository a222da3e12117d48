"""dataset.validated --(import time + delay)--> cost.estimated."""

from contracts.dataset import DatasetValidated
from contracts.envelope import Event
from contracts.form import Draft, read_draft
from contracts.hyperparameters import resolve
from contracts.quote import CostEstimated, Quote
from contracts.task import TrainingDataset
from handlers import datasets, drafts, layout
from handlers.counting import Counts
from handlers.datasets import KnownDataset
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.build import FORMATS
from handlers.ports import Catalog, ModelEntry, ObjectStore, Planner, Receipts, TokenCounter
from handlers.pricing import make_quote, method_of
from handlers.task_data import TaskData, WantedData

STAGE = "cost-estimation"


async def estimate_cost(
    event: Event[DatasetValidated],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    receipts: Receipts,
) -> Outcome:
    """Price the form as far as it is filled in, or say what is missing to price it.

    Delivery brings the event when it is due. Of several imports of one task only the newest is priced; the others end
    as ``superseded``. Idempotent by (task, draft, verdicts, prices).
    """
    verdict = event.data
    draft = read_draft(verdict.draft) if verdict.draft else Draft()
    if draft.task_id:
        newest = await drafts.newest(store, draft.task_id)
        if newest and newest.imported_at > verdict.imported_at:
            return Outcome(name="superseded")
    wanted = _wanted(draft, verdict.dataset_id, catalog)
    known = await datasets.load_all(store, wanted.dataset_ids())
    model = _model(draft, catalog)
    price = catalog.price(model, method_of(draft.training_type)) if model and draft.training_type else None
    verdicts = {name: found.digest if found else None for name, found in known.items()}
    subject = draft.task_id or verdict.dataset_id

    key = f"{subject}/{layout.digest(draft, verdicts, model, price)}"
    if recorded := await receipts.recorded(STAGE, key):
        return recorded
    quote = await _quote(draft, wanted, known, model, catalog, tokens, planner)

    async def work() -> Decision:
        own = wanted._replace(presets=()).dataset_ids()
        said = CostEstimated(task_id=draft.task_id, dataset_ids=tuple(own), project=verdict.project, quote=quote)
        name = "estimated" if quote.complete else "incomplete"
        return Decision(name=name, follow_ons=(FollowOn("cost.estimated", subject, said),))

    # What is missing may be there at the next delivery: only a complete quote is recorded for good.
    return await receipts.once(STAGE, key if quote.complete else f"{key}/{quote.quote_id}", event, work)


def _wanted(draft: Draft, dataset_id: str, catalog: Catalog) -> WantedData:
    mixed_into = draft.training_type if draft.preset_mix else None
    return WantedData(
        training_set=draft.training_set or (TrainingDataset(dataset_id=dataset_id),),
        validation=draft.validation,
        preset_mix=draft.preset_mix,
        presets=tuple(catalog.presets(mixed_into)) if mixed_into else (),
        shuffle=draft.shuffle,
    )


def _model(draft: Draft, catalog: Catalog) -> ModelEntry | None:
    if draft.base_model is None or draft.base_model.foundation is None:
        return None
    return catalog.model(draft.base_model.foundation.name, draft.base_model.foundation.version)


async def _quote(
    draft: Draft,
    wanted: WantedData,
    known: dict[str, KnownDataset | None],
    model: ModelEntry | None,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
) -> Quote:
    # Without a model and a training type nothing can be said of a hyperparameter, and both are missing anyway.
    rules = model.training_types.get(draft.training_type) if model and draft.training_type else None
    hyperparameters, faults = resolve(draft.hyperparameters or {}, rules) if rules is not None else ({}, ())
    open_questions = [f"{fault.field}: {fault.message}" for fault in faults]
    if model and draft.training_type and rules is None:
        open_questions.append(f"training_type: {draft.training_type} is not available for {model.name}")
    open_questions += _of_other_formats(draft, known)
    open_questions += unsettled(draft, wanted)
    there = {name: found for name, found in known.items() if found is not None}
    data = TaskData(wanted, there, Counts(model, tokens), planner, hyperparameters) if model else None
    return await make_quote(
        known=known,
        model=model,
        training_type=draft.training_type,
        hyperparameters=hyperparameters,
        open_questions=open_questions,
        catalog=catalog,
        draw=data.figures if data else None,
    )


def _of_other_formats(draft: Draft, known: dict[str, KnownDataset | None]) -> list[str]:
    wanted = FORMATS[draft.training_type] if draft.training_type else None
    return [
        f"dataset {name}: is in format {found.format}, but {draft.training_type} trains on {wanted}"
        for name, found in known.items()
        if wanted and found and found.format not in {None, wanted}
    ]


def unsettled(draft: Draft, wanted: WantedData) -> list[str]:
    """Return what a draft asks for that there is nothing to draw from."""
    if draft.preset_mix is None or draft.training_type is None or wanted.presets:
        return []
    return [f"preset_mix: no preset dataset is configured for {draft.training_type}"]
