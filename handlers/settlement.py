"""What a task is billed once it has ended. Pure: it follows from the task's state, so a replay says the same.

=========================  =====================================================================================
how the task ended         what is billed
=========================  =====================================================================================
it succeeded               its quote; where that was not complete, the tokens that were trained
its user ended it, or its  the tokens that were trained, at the quote's price, and never more than the quote
data or form did
the platform did, or       nothing
nobody knows who
it was never dispatched    nothing
=========================  =====================================================================================
"""

from decimal import Decimal

from msgspec import Struct

from contracts.quote import Quote
from contracts.task import Party, Phase, Progress, Settlement, SettlementBasis
from contracts.training import Checkpoint
from handlers import money


class Quoted(Struct, frozen=True, kw_only=True):
    """What is remembered of the quote that a task was dispatched under. Without a complete one there is no amount."""

    quote_id: str
    tokens: int
    amount: str | None
    currency: str
    price_per_1k_tokens: str | None


class Trained(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Steps and tokens, over all epochs, that a task's result rests on: none that a failed attempt did and lost."""

    steps: int = 0
    tokens: int = 0


def quoted(quote: Quote) -> Quoted:
    """Return what to remember of a quote. Pure."""
    return Quoted(
        quote_id=quote.quote_id,
        tokens=quote.billed_tokens,
        amount=quote.amount if quote.complete else None,
        currency=quote.currency,
        price_per_1k_tokens=quote.price_per_1k_tokens,
    )


def going_on_from(checkpoint: Checkpoint | None) -> Trained:
    """Return what an attempt that begins there has behind it: what came after is trained, and billed, anew. Pure."""
    if checkpoint is None:
        return Trained()
    return Trained(steps=checkpoint.step, tokens=checkpoint.trained_tokens or 0)


def further(before: Trained, progress: Progress | None) -> Trained:
    """Return what is trained after the current attempt said how far it is. Pure."""
    if progress is None:
        return before
    tokens = before.tokens if progress.trained_tokens is None else progress.trained_tokens
    return Trained(steps=progress.step, tokens=tokens)


def settle(phase: Phase, party: Party | None, quote: Quoted | None, trained: Trained) -> Settlement:
    """Return the settlement of a task that ended in this phase, by this party. Pure."""
    basis = _basis(phase, party, quote)
    return Settlement(
        basis=basis,
        amount=_amount(basis, quote, trained),
        currency=quote.currency if quote else None,
        party=party,
        quote_id=quote.quote_id if quote else None,
        quoted_tokens=quote.tokens if quote else None,
        quoted_amount=quote.amount if quote else None,
        trained_tokens=trained.tokens,
        steps=trained.steps,
    )


def _basis(phase: Phase, party: Party | None, quote: Quoted | None) -> SettlementBasis:
    if quote is None:
        return "nothing"
    if phase is Phase.COMPLETED:
        return "trained" if quote.amount is None else "quote"
    return "trained" if party == "user" else "nothing"


def _amount(basis: SettlementBasis, quote: Quoted | None, trained: Trained) -> str | None:
    if basis == "nothing" or quote is None:
        return money.plain(Decimal(0))
    if basis == "quote":
        return quote.amount
    if quote.price_per_1k_tokens is None:
        return None
    due = money.fee(trained.tokens, quote.price_per_1k_tokens)
    return due if quote.amount is None else min(due, quote.amount, key=Decimal)
