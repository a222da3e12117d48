"""dataset.validated --(import time + delay)--> cost.estimated."""

from datetime import timedelta

from contracts.dataset import DatasetValidated
from contracts.envelope import Event
from contracts.form import Draft, read_draft
from contracts.hyperparameters import resolve
from contracts.quote import CostEstimated, Quote
from contracts.task import TrainingDataset
from handlers import datasets, drafts, layout, quotes
from handlers.counting import Counts
from handlers.datasets import KnownDataset
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.build import FORMATS
from handlers.ports import Catalog, Clock, ModelEntry, ObjectStore, Receipts, TokenCounter
from handlers.pricing import make_quote, method_of

STAGE = "cost-estimation"


async def estimate_cost(
    event: Event[DatasetValidated],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    receipts: Receipts,
    clock: Clock,
    quote_valid_seconds: float,
) -> Outcome:
    """Price the form as far as it is filled in, or say what is missing to price it.

    Delivery brings the event when it is due. Of several imports of one task only the newest is priced; the others end
    as ``superseded``. The quote is kept, so that a task can cite it. Idempotent by (task, draft, verdicts, prices).
    """
    verdict = event.data
    draft = read_draft(verdict.draft) if verdict.draft else Draft()
    if draft.task_id:
        newest = await drafts.newest(store, draft.task_id)
        if newest and newest.imported_at > verdict.imported_at:
            return Outcome(name="superseded")
    training_set = draft.training_set or (TrainingDataset(dataset_id=verdict.dataset_id),)
    known = await datasets.load_all(store, [wanted.dataset_id for wanted in training_set])
    model = model_of(draft, catalog)
    price = catalog.price(model, method_of(draft.training_type)) if model and draft.training_type else None
    verdicts = {name: found.digest if found else None for name, found in known.items()}
    subject = draft.task_id or verdict.dataset_id

    key = f"{subject}/{layout.digest(draft, verdicts, model, price)}"
    if recorded := await receipts.recorded(STAGE, key):
        return recorded
    made = await price_draft(draft, training_set, known, subject=subject, catalog=catalog, tokens=tokens)
    new = quotes.about(made, known, task_id=draft.task_id, project=verdict.project)
    quote = await quotes.keep(store, new, clock.now() + timedelta(seconds=quote_valid_seconds))

    async def work() -> Decision:
        said = CostEstimated(task_id=draft.task_id, dataset_ids=tuple(known), project=verdict.project, quote=quote)
        name = "estimated" if quote.complete else "incomplete"
        return Decision(name=name, follow_ons=(FollowOn("cost.estimated", subject, said),))

    # What is missing may be there at the next delivery: only a complete quote is recorded for good.
    return await receipts.once(STAGE, key if quote.complete else f"{key}/{quote.quote_id}", event, work)


def model_of(draft: Draft, catalog: Catalog) -> ModelEntry | None:
    """Return the foundation model a draft names, or None. Pure."""
    if draft.base_model is None or draft.base_model.foundation is None:
        return None
    return catalog.model(draft.base_model.foundation.name, draft.base_model.foundation.version)


async def price_draft(
    draft: Draft,
    training_set: tuple[TrainingDataset, ...],
    known: dict[str, KnownDataset | None],
    *,
    subject: str,
    catalog: Catalog,
    tokens: TokenCounter,
) -> Quote:
    """Return the fee of a form as far as it is filled in, for the task or dataset that is the subject.

    Raises Unavailable where the bucket does not answer.
    """
    model = model_of(draft, catalog)
    # Without a model and a training type nothing can be said of a hyperparameter, and both are missing anyway.
    rules = model.training_types.get(draft.training_type) if model and draft.training_type else None
    hyperparameters, faults = resolve(draft.hyperparameters or {}, rules) if rules is not None else ({}, ())
    open_questions = [f"{fault.field}: {fault.message}" for fault in faults]
    if model and draft.training_type and rules is None:
        open_questions.append(f"training_type: {draft.training_type} is not available for {model.name}")
    open_questions += _of_other_formats(draft, known)
    open_questions += unsettled(draft)
    return await make_quote(
        subject=subject,
        training_set=training_set,
        known=known,
        model=model,
        training_type=draft.training_type,
        hyperparameters=hyperparameters,
        open_questions=open_questions,
        catalog=catalog,
        counts=Counts(model, tokens) if model else None,
    )


def _of_other_formats(draft: Draft, known: dict[str, KnownDataset | None]) -> list[str]:
    wanted = FORMATS[draft.training_type] if draft.training_type else None
    return [
        f"dataset {name}: is in format {found.format}, but {draft.training_type} trains on {wanted}"
        for name, found in known.items()
        if wanted and found and found.format not in {None, wanted}
    ]


def unsettled(draft: Draft) -> list[str]:
    """Return what a draft leaves to the plan: which samples are split off or mixed in is drawn there."""
    split = draft.validation is not None and draft.validation.percent is not None
    return ["validation: the split, made when the task is planned"] * split + [
        "preset_mix: the draw, made when the task is planned"
    ] * (draft.preset_mix is not None)
