"""cost.estimated (while tokens are counted) -> cost.estimated (exact): once all are.

A stage of its own, so that counting for an hour holds up no fee that is due meanwhile, and so that what is known is
said before the counting begins, whatever becomes of this process.
"""

from contracts.envelope import Event
from contracts.quote import CostEstimated
from handlers import cost_estimation, revisions
from handlers.cost_estimation import Estimation, asked_for, decided
from handlers.outcome import Outcome
from handlers.ports.catalog import Catalog
from handlers.ports.clock import Clock
from handlers.ports.planner import Planner
from handlers.ports.receipts import Receipts
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounter
from handlers.revisions import Made, Newest
from handlers.tenancy.projects import Projects

STAGE = "exact-estimation"


async def estimate_exactly(
    event: Event[CostEstimated],
    *,
    store: ObjectStore,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    receipts: Receipts,
    clock: Clock,
    quote_valid_seconds: float,
    projects: Projects,
) -> Outcome:
    """Count what was only sampled, and say the exact quote as a later revision, unless a newer estimate was said.

    Idempotent, by the receipt that an estimate has which need not be sampled. Once the task is decided, an exact quote
    that was said is only said again. May take as long as counting does.
    """
    quote = event.data.quote
    # One that an older version said has an interval alone.
    if not quote.counting and quote.interval is None:
        # Nearly every estimate: none of them may cost the bucket a request.
        return Outcome(name="nothing-to-count")
    asked = await asked_for(store, quote.quote_id)
    if asked is None:
        return Outcome(name="unknown-quote")
    held = await revisions.newest(store, asked.newest)
    if held is None or quote.quote_id not in (held.quote_id, held.exact_for):
        return Outcome(name="superseded")
    # Made exact before, and maybe at other prices than today's.
    ended = held.exact_for == quote.quote_id and await decided(store, asked.draft.task_id)
    if ended and (said := await receipts.recorded(cost_estimation.STAGE, asked.business_key(held))):
        return said

    async def settle(made: Made) -> Newest | None:
        return await revisions.made_exact(store, asked.newest, quote.quote_id, made)

    estimation = Estimation(store, catalog, tokens, planner, receipts, clock, quote_valid_seconds, projects)
    return await estimation.said(event, asked, held, settle)
