"""What people read: the fee and its items on stdout, what is wrong on stderr."""

from collections.abc import Iterable
from decimal import Decimal

import typer

from contracts.quote import Quote, QuoteItem
from contracts.task import Fault
from worker.estimate.estimating import Estimated
from worker.validate.excerpt import safe

_REPORT, _NO_REPORT = "; see its report", "; worker validate shows where"


def show(found: Estimated) -> None:
    """Print an estimate."""
    for item in found.quote.items:
        typer.echo(safe(_item(item, found.quote.currency)))
    fee = _fee(found.quote)
    typer.echo(safe(fee))
    # What keeps a fee from being known was just said.
    problems = [each for each in found.problems if each.removesuffix(_NO_REPORT) not in fee]
    show_wrong(found.faults, (*problems, *found.notes))


def show_wrong(faults: Iterable[Fault], others: Iterable[str]) -> None:
    """Print what is wrong with a form, and what else is to be said."""
    for fault in faults:
        typer.echo(safe(f"form: {fault.field}: {fault.message} ({fault.code})"), err=True)
    for each in others:
        typer.echo(safe(each), err=True)


def _fee(quote: Quote) -> str:
    if quote.amount is None:
        # Nothing was imported, so there is no report: the quote speaks as the service does.
        missing = "; ".join(each.replace(_REPORT, _NO_REPORT) for each in quote.missing)
        return f"the fee is not known: {missing}"
    until = f" until step {quote.max_steps:,}" if quote.max_steps else ""
    return (
        f"fee: {quote.amount} {quote.currency} for {quote.billed_tokens:,} tokens{until} of {quote.model}, "
        f"{quote.method}, prices of {quote.price_version}"
    )


def _item(item: QuoteItem, currency: str) -> str:
    factor = "" if Decimal(item.factor) == 1 else f" x {item.factor}"
    price = f"{item.price_per_1k_tokens} / 1,000 = {item.amount} {currency}"
    count = f"{item.samples:,} samples, {item.tokens:,} tokens"
    return f"{item.kind} {item.dataset_id}: {count} x {item.epochs} epochs{factor} x {price}"
