"""The fee while tokens are still being counted: between which amounts it will be, by the code that makes quotes."""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from contracts.form import Draft
from contracts.quote import Interval, Quote
from handlers import layout
from handlers.counting import Counts


async def with_interval(
    quote: Quote, draft: Draft, counts: Counts, make: Callable[[Counts], Awaitable[Quote]]
) -> Quote:
    """Return a quote that says whether the exact one follows, and between which amounts it will be.

    Where something else is open too, a dataset cannot be sampled, or the fee depends on single samples, there are no
    such amounts. ``make`` makes the quote from other counts: of each sampled dataset once the fewest, and once the most
    tokens. Each dataset's range holds its tokens 99 times of 100; so does their sum that of all, for their errors add
    up to less.
    """
    if quote.complete or not counts.counting:
        return quote
    low, high = await make(counts.at(0)), await make(counts.at(1))
    found = _between(low, high, counts.sampled)
    # What it was asked for is looked up by the id, to be counted exactly: another draft is another id.
    quote_id = "q-" + layout.digest(quote.quote_id, found, draft)[:24]
    return replace(quote, counting=True, interval=found, quote_id=quote_id)


def _between(low: Quote, high: Quote, sampled: int) -> Interval | None:
    if low.amount is None or high.amount is None:
        return None
    return Interval(
        low=low.amount,
        high=high.amount,
        low_tokens=low.billed_tokens,
        high_tokens=high.billed_tokens,
        sampled=sampled,
    )
