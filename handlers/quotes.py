"""Quotes that were said: kept for good, and whether a task that cites one is billed by it.

A quote is honoured while the data and the form it rests on are the same. Its price holds until ``valid_until``, by the
time at which the task was submitted; after that as long as the price table says the same.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import Id
from contracts.form import Draft
from contracts.quote import Quote, QuoteItem
from contracts.training import Failure
from handlers import compare_and_set, layout
from handlers.datasets import KnownDataset
from handlers.ports.store import ObjectStore
from handlers.pricing import contents_of


class KeptQuote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A quote as it was first made. ``contents`` are digests of the bytes of its datasets, by their ids.

    ``draft`` is the form that it prices, of the import of ``dataset_id``; None where a dispatch made the quote.
    """

    quote: Quote
    task_id: Id | None
    project: Id
    contents: dict[str, str]
    draft: Draft | None = None
    dataset_id: Id | None = None


class Citation(Struct, frozen=True, kw_only=True):
    """That a task which was submitted at a time cites a quote; None: there is no quote under this id."""

    quote_id: str
    kept: KeptQuote | None
    submitted_at: datetime


def about(quote: Quote, known: Mapping[str, KnownDataset | None], *, task_id: str | None, project: str) -> KeptQuote:
    """Return a quote with what it is about, to be kept. Pure."""
    return KeptQuote(quote=quote, task_id=task_id, project=project, contents=contents_of(known))


async def keep(store: ObjectStore, new: KeptQuote, valid_until: datetime) -> Quote:
    """Store a quote under its id and return it as it was stored first. Idempotent: its time never begins anew."""
    valid = replace(new.quote, valid_until=valid_until if new.quote.complete else None)
    return (await compare_and_set.first(store, layout.quote(new.quote.quote_id), replace(new, quote=valid))).quote


async def cited(store: ObjectStore, quote_id: str | None, submitted_at: datetime) -> Citation | None:
    """Return what a form cites, or None where it cites nothing."""
    if quote_id is None:
        return None
    kept = await compare_and_set.read(store, layout.quote(quote_id), KeptQuote)
    return Citation(quote_id=quote_id, kept=kept, submitted_at=submitted_at)


def in_force(citation: Citation | None, now: KeptQuote) -> Quote | Failure:
    """Return the quote a task is billed by, or why the one it cites does not hold. ``now`` is made now. Pure."""
    if citation is None:
        return now.quote
    name = f"quote {citation.quote_id}"
    kept = citation.kept
    if kept is None:
        return _refused("quote-unknown", f"there is no {name}; cite one that cost.estimated has said, or none")
    if kept.project != now.project or kept.task_id not in (None, now.task_id):
        return _refused("quote-of-another-task", f"{name} was made for another task or project; cite this task's own")
    if not kept.quote.complete:
        missing = "; ".join(kept.quote.missing)
        return _refused("quote-incomplete", f"{name} is not complete ({missing}); cite the one that superseded it")
    if not now.quote.complete:
        message = f"{name} cannot be compared with the fee, which is not known: {'; '.join(now.quote.missing)}"
        return Failure("cost-unknown", "platform", message, retryable=False)
    if changed := [*_data_and_form(kept, now)]:
        return _refused("quote-changed", f"{name} is about something else: {'; '.join(changed)}")
    if _same_price(kept.quote, now.quote) or _valid(kept.quote, citation.submitted_at):
        return kept.quote
    changed_price = f"{_price(now.quote)}, was {_price(kept.quote)}"
    message = f"{name} was valid until {kept.quote.valid_until}, and the price has changed: {changed_price}"
    return _refused("quote-expired", message)


def _data_and_form(before: KeptQuote, now: KeptQuote) -> Iterator[str]:
    if before.quote.model != now.quote.model:
        yield f"base model {now.quote.model}, was {before.quote.model}"
    if before.quote.method != now.quote.method:
        yield f"method {now.quote.method}, was {before.quote.method}"
    old, new = _items(before.quote), _items(now.quote)
    for kind, dataset_id in dict.fromkeys([*old, *new]):
        name = f"{kind} dataset {dataset_id}"
        was, item = old.get((kind, dataset_id)), new.get((kind, dataset_id))
        if was is None or item is None:
            yield f"{name} was not in it" if was is None else f"{name} is gone"
        elif before.contents.get(dataset_id) != now.contents.get(dataset_id):
            yield f"{name} has other content"
        else:
            yield from _figures(name, was, item)


def _figures(name: str, was: QuoteItem, item: QuoteItem) -> Iterator[str]:
    for field in ("samples", "tokens", "epochs", "factor"):
        if (before := getattr(was, field)) != (now := getattr(item, field)):
            yield f"{name} has {field} {now}, was {before}"


def _items(quote: Quote) -> Mapping[tuple[str, str], QuoteItem]:
    return {(item.kind, item.dataset_id): item for item in quote.items}


def _same_price(before: Quote, now: Quote) -> bool:
    """Return whether two complete quotes have one price, however it is spelt."""
    was, price = before.price_per_1k_tokens, now.price_per_1k_tokens
    if was is None or price is None:
        return was == price
    return Decimal(was) == Decimal(price) and before.currency == now.currency


def _price(quote: Quote) -> str:
    return f"{quote.price_per_1k_tokens} {quote.currency} per 1,000 tokens"


def _valid(quote: Quote, at: datetime) -> bool:
    return quote.valid_until is not None and at <= quote.valid_until


def _refused(reason: str, message: str) -> Failure:
    return Failure(reason, "user", message, retryable=False)
