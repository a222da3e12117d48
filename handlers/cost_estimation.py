"""dataset.validated, dataset.rejected --(import time + delay)--> cost.estimated."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.dataset import DatasetRejected, DatasetValidated
from contracts.envelope import Event
from contracts.form import Draft, read_draft
from contracts.quote import CostEstimated, Quote
from contracts.task import Phase, TrainingDataset
from handlers import bases, compare_and_set, datasets, drafts, layout, quotes, revisions, task_state
from handlers.bases import Base
from handlers.datasets import KnownDataset
from handlers.draft_price import price_draft, rests_on, wanted_by
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports.catalog import Catalog
from handlers.ports.clock import Clock
from handlers.ports.planner import Planner
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounter, TokenSampler
from handlers.pricing import price_of
from handlers.quotes import KeptQuote
from handlers.revisions import Came, Made, Newest
from handlers.task_data import WantedData
from handlers.tenancy.projects import Projects
from handlers.tenancy.reading import forbidden

STAGE = "cost-estimation"


async def estimate_cost(
    event: Event[DatasetValidated | DatasetRejected],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    sampler: TokenSampler,
    planner: Planner,
    receipts: Receipts,
    clock: Clock,
    quote_valid_seconds: float,
    projects: Projects,
) -> Outcome:
    """Price the form as far as it is filled in, or say what is missing to price it.

    Delivery brings the event when it is due. Of several imports of one task only the newest is priced; the others end
    as ``superseded``, unless the newest was priced before and waits for their very dataset: then it is priced again.
    The quote is kept, so that a task can cite it. Where a dataset is too large to be counted now,
    the quote says so, with an interval where it can, and exact_estimation.py follows. Idempotent by (task, what was
    asked and how often that changed). Once the task is decided nothing is priced anew: what was said is said again.
    """
    verdict = event.data
    if isinstance(verdict, DatasetRejected) and not verdict.draft:
        # Nobody asked what it costs. With a draft it is the draft that says how many invalid lines are too many.
        return Outcome(name="nothing-to-price")
    asked = Asked(read_draft(verdict.draft) if verdict.draft else Draft(), verdict.dataset_id, verdict.project)
    came = Came(verdict.imported_at, layout.digest(asked.draft))
    held = await revisions.newest(store, asked.newest)
    if await _superseded(store, asked, verdict.imported_at):
        later = await _waiting_for(store, held, verdict.dataset_id, catalog)
        if held is None or later is None:
            return Outcome(name="superseded")
        asked, came = later, held.came
    estimation = Estimation(store, catalog, tokens, planner, receipts, clock, quote_valid_seconds, projects, sampler)
    if held and await decided(store, asked.draft.task_id):
        if held.came != came:
            return Outcome(name="decided")
        if said := await receipts.recorded(STAGE, asked.business_key(held)):
            return said

    async def settle(made: Made) -> Newest | None:
        return await revisions.revised(store, asked.newest, came, made)

    return await estimation.said(event, asked, held, settle)


async def decided(store: ObjectStore, task_id: str | None) -> bool:
    """Return whether a task is dispatched, or never will be: no price of today is its own any more."""
    state = await task_state.read(store, task_id) if task_id else None
    return state is not None and state.phase is not Phase.PREPROCESSING


async def _superseded(store: ObjectStore, asked: "Asked", imported_at: datetime) -> bool:
    newest = await drafts.newest(store, asked.draft.task_id) if asked.draft.task_id else None
    return newest is not None and newest.imported_at > imported_at


async def _waiting_for(store: ObjectStore, held: Newest | None, dataset_id: str, catalog: Catalog) -> "Asked | None":
    """Return what the newest estimate is asked of, where that could not be complete without this dataset."""
    asked = await asked_for(store, held.quote_id) if held and not held.complete else None
    return asked if asked and dataset_id in asked.wanted(catalog).dataset_ids() else None


async def asked_for(store: ObjectStore, quote_id: str) -> "Asked | None":
    """Return what an estimate's quote was asked of; None where there is none, or a dispatch made it."""
    kept = await compare_and_set.read(store, layout.quote(quote_id), KeptQuote)
    if kept is None or kept.draft is None or kept.dataset_id is None:
        return None
    return Asked(kept.draft, kept.dataset_id, kept.project)


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
    projects: Projects
    sampler: TokenSampler | None = None

    async def said(
        self,
        event: Event[Any],
        asked: Asked,
        held: Newest | None,
        settle: Callable[[Made], Awaitable[Newest | None]],
    ) -> Outcome:
        """Return the estimate of what is asked, by all that is known now.

        Idempotent by (subject, draft, verdicts, price, how often these changed). ``held`` is the newest estimate of the
        subject; ``settle`` makes another one that; None: it is superseded already.
        """
        draft = asked.draft
        wanted = asked.wanted(self.catalog)
        known = await datasets.load_all(self.store, wanted.dataset_ids())
        base = await bases.find(draft.base_model, asked.project, self.store, self.catalog)
        price = price_of(base.model, draft.training_type, self.catalog)
        basis = rests_on(draft, wanted, known, base, price)
        imported = known.get(asked.dataset_id)
        links = (imported.traceparent,) if imported and imported.traceparent else ()
        if held and held.complete and held.asked == basis:
            again = await settle(Made(held.quote_id, complete=True, asked=basis))
            if again is None:
                return Outcome(name="superseded")
            if recorded := await self.receipts.recorded(STAGE, asked.business_key(again)):
                return replace(recorded, links=links)
        quote = await self._quote(asked, wanted, known, base)
        newest = await settle(Made(quote.quote_id, quote.complete, basis))
        if newest is None:
            return Outcome(name="superseded")
        # A report that came meanwhile: its own event may have looked before this estimate was there to be seen.
        lacking = [name for name, found in known.items() if found is None]
        if any((await datasets.load_all(self.store, lacking)).values()):
            return await self.said(event, asked, newest, settle)
        own = wanted.own_ids()
        body = CostEstimated(
            task_id=draft.task_id, dataset_ids=tuple(own), project=asked.project, quote=quote, revision=newest.revision
        )

        async def work() -> Decision:
            name = "estimated" if quote.complete else "sampled" if quote.counting else "incomplete"
            return Decision(name=name, follow_ons=(FollowOn("cost.estimated", asked.subject, body),))

        return replace(await self.receipts.once(STAGE, asked.business_key(newest), event, work), links=links)

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
            forbidden=forbidden(known, wanted.own_ids(), asked.project, self.projects, self.store),
        )
        new = quotes.about(made, known, task_id=draft.task_id, project=asked.project)
        new = replace(new, draft=draft, dataset_id=asked.dataset_id)
        return await quotes.keep(self.store, new, self.clock.now() + timedelta(seconds=self.quote_valid_seconds))
