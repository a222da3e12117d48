"""dataset.validated --(import time + delay)--> cost.estimated."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.dataset import DatasetValidated
from contracts.envelope import Event
from contracts.form import Draft, read_draft
from contracts.hyperparameters import resolve
from contracts.quote import CostEstimated, Quote
from contracts.task import TrainingDataset
from handlers import bases, datasets, drafts, layout, quotes, revisions
from handlers.bases import Base
from handlers.counting import Counts
from handlers.datasets import KnownDataset
from handlers.interval import with_interval
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.planning.build import FORMATS, packed_to
from handlers.ports import Catalog, Clock, ObjectStore, Planner, Receipts, TokenCounter, TokenSampler
from handlers.pricing import make_quote, method_of
from handlers.revisions import Came, Made, Newest
from handlers.task_data import TaskData, WantedData

STAGE = "cost-estimation"


async def estimate_cost(
    event: Event[DatasetValidated],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    sampler: TokenSampler,
    planner: Planner,
    receipts: Receipts,
    clock: Clock,
    quote_valid_seconds: float,
) -> Outcome:
    """Price the form as far as it is filled in, or say what is missing to price it.

    Delivery brings the event when it is due. Of several imports of one task only the newest is priced; the others end
    as ``superseded``. The quote is kept, so that a task can cite it. Where a dataset is too large to be counted now,
    the quote says so, with an interval where it can, and exact_estimation.py follows. Idempotent by (task, what was
    asked and how often that changed).
    """
    verdict = event.data
    draft = read_draft(verdict.draft) if verdict.draft else Draft()
    if draft.task_id:
        newest = await drafts.newest(store, draft.task_id)
        if newest and newest.imported_at > verdict.imported_at:
            return Outcome(name="superseded")
    estimation = Estimation(store, catalog, tokens, planner, receipts, clock, quote_valid_seconds, sampler)
    asked = Asked(draft, verdict.dataset_id, verdict.project)

    came = Came(verdict.imported_at, layout.digest(draft))

    async def settle(made: Made) -> Newest | None:
        return await revisions.revised(store, asked.newest, came, made)

    return await estimation.said(event, asked, settle)


class Asked(NamedTuple):
    """What an import asks the fee of: a draft, which may name other datasets than the imported one."""

    draft: Draft
    dataset_id: str
    project: str

    @property
    def subject(self) -> str:
        """Return the task or the dataset the fee is said about."""
        return self.draft.task_id or self.dataset_id

    @property
    def newest(self) -> str:
        """Return the key of the subject's newest estimate."""
        return layout.estimate(self.draft.task_id, self.dataset_id)

    def business_key(self, estimate: Newest) -> str:
        """Return what an estimate is recorded under.

        What is missing may be there at the next delivery: only a complete quote is recorded for all deliveries.
        """
        key = f"{self.subject}/{estimate.asking}-{estimate.asked}"
        return key if estimate.complete else f"{key}/{estimate.revision}"

    def wanted(self, catalog: Catalog) -> WantedData:
        """Return the data it is about: without a training set of its own, the imported dataset."""
        return wanted_by(self.draft, self.draft.training_set or (TrainingDataset(dataset_id=self.dataset_id),), catalog)


@dataclass(frozen=True)
class Estimation:
    """Estimates over their ports. Without a ``sampler`` tokens are counted, however long it takes."""

    store: ObjectStore
    catalog: Catalog
    tokens: TokenCounter
    planner: Planner
    receipts: Receipts
    clock: Clock
    quote_valid_seconds: float
    sampler: TokenSampler | None = None

    async def said(
        self, event: Event[Any], asked: Asked, settle: Callable[[Made], Awaitable[Newest | None]]
    ) -> Outcome:
        """Return the estimate of what is asked, by all that is known now.

        Idempotent by (subject, draft, verdicts, price, how often these changed). ``settle`` makes an estimate the
        newest of its subject; None: it is superseded already.
        """
        draft = asked.draft
        wanted = asked.wanted(self.catalog)
        known = await datasets.load_all(self.store, wanted.dataset_ids())
        base = await bases.find(draft.base_model, asked.project, self.store, self.catalog)
        model = base.model
        price = self.catalog.price(model, method_of(draft.training_type)) if model and draft.training_type else None
        verdicts = {name: found.digest if found else None for name, found in known.items()}
        rests_on = layout.digest(draft, verdicts, model, price)
        held = await revisions.newest(self.store, asked.newest)
        if held and held.complete and held.asked == rests_on:
            again = await settle(Made(held.quote_id, complete=True, asked=rests_on))
            if again is None:
                return Outcome(name="superseded")
            if recorded := await self.receipts.recorded(STAGE, asked.business_key(again)):
                return recorded
        quote = await self._quote(asked, wanted, known, base)
        newest = await settle(Made(quote.quote_id, quote.complete, rests_on))
        if newest is None:
            return Outcome(name="superseded")
        own = wanted._replace(presets=()).dataset_ids()
        body = CostEstimated(
            task_id=draft.task_id, dataset_ids=tuple(own), project=asked.project, quote=quote, revision=newest.revision
        )

        async def work() -> Decision:
            name = "estimated" if quote.complete else "sampled" if quote.counting else "incomplete"
            return Decision(name=name, follow_ons=(FollowOn("cost.estimated", asked.subject, body),))

        return await self.receipts.once(STAGE, asked.business_key(newest), event, work)

    async def _quote(
        self, asked: Asked, wanted: WantedData, known: dict[str, KnownDataset | None], base: Base
    ) -> Quote:
        """Return the quote, kept: as it was made first."""
        draft = asked.draft
        made = await price_draft(
            draft,
            wanted,
            known,
            base,
            subject=asked.subject,
            catalog=self.catalog,
            tokens=self.tokens,
            planner=self.planner,
            sampler=self.sampler,
        )
        new = quotes.about(made, known, task_id=draft.task_id, project=asked.project)
        new = replace(new, draft=draft, dataset_id=asked.dataset_id)
        return await quotes.keep(self.store, new, self.clock.now() + timedelta(seconds=self.quote_valid_seconds))


def wanted_by(draft: Draft, training_set: tuple[TrainingDataset, ...], catalog: Catalog) -> WantedData:
    """Return the data that a draft is about, with the preset datasets it mixes in. Pure."""
    mixed_into = draft.training_type if draft.preset_mix else None
    return WantedData(
        training_set=training_set,
        validation=draft.validation,
        preset_mix=draft.preset_mix,
        presets=tuple(catalog.presets(mixed_into)) if mixed_into else (),
        shuffle=draft.shuffle,
    )


async def price_draft(
    draft: Draft,
    wanted: WantedData,
    known: dict[str, KnownDataset | None],
    base: Base,
    *,
    subject: str,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    sampler: TokenSampler | None = None,
) -> Quote:
    """Return the fee of a form as far as it is filled in, for the task or dataset that is the subject.

    ``base`` is what the form names as its base model. With a ``sampler`` large datasets are sampled, not counted: see
    interval.py.

    Raises Unavailable where the bucket does not answer.
    """
    model = base.model
    # Without a model and a training type nothing can be said of a hyperparameter, and both are missing anyway.
    rules = model.training_types.get(draft.training_type) if model and draft.training_type else None
    hyperparameters, faults = resolve(draft.hyperparameters or {}, rules) if rules is not None else ({}, ())
    faults = (*draft.faults, *faults, *([base.fault] if base.fault else ()))
    open_questions = [f"{fault.field}: {fault.message}" for fault in faults]
    if model and draft.training_type and rules is None:
        open_questions.append(f"training_type: {draft.training_type} is not available for {model.name}")
    open_questions += _of_other_formats(draft, known)
    open_questions += unsettled(draft, wanted)
    there = {name: found for name, found in known.items() if found is not None}
    counts = Counts(model, tokens, sampler) if model else None
    rows = packed_to(draft.training_type, model) if draft.training_type and model else None

    async def made(by: Counts | None) -> Quote:
        data = TaskData(wanted, there, by, planner, hyperparameters, rows) if by else None
        return await make_quote(
            subject=subject,
            known=known,
            model=model,
            training_type=draft.training_type,
            hyperparameters=hyperparameters,
            open_questions=open_questions,
            catalog=catalog,
            draw=data.figures if data else None,
        )

    quote = await made(counts)
    return await with_interval(quote, draft, counts, made) if counts else quote


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
