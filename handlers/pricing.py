"""The fee: billed tokens x epochs x price per 1,000 tokens / 1,000, itemised, in decimal arithmetic."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from msgspec.structs import replace

from contracts.quote import Quote, QuoteItem, TooLong
from handlers import layout, money
from handlers.datasets import KnownDataset
from handlers.planning.figures import Figures, Undrawn
from handlers.planning.selection import Drawn, Kind, Stop
from handlers.ports.catalog import Catalog, ModelEntry, Price
from handlers.ports.tokens import TokenCounts

#: What a sample of each kind costs beside a user's training sample.
FACTORS: dict[Kind, Decimal] = {"user": Decimal(1), "preset": Decimal(1), "validation": Decimal(0)}

#: The hyperparameters that a fee depends on: in steps.py, in ``selection_of`` and here.
FEE_HYPERPARAMETERS = ("epochs", "max_steps", "batch_size", "gradient_accumulation", "pairs")

#: The value of the hyperparameter ``pairs`` with which the other candidates of a preference are never looked at.
BEST_WORST = "best-worst"

Method = Literal["full", "LoRA"]


def method_of(training_type: str) -> Method:
    """Return whether a training type trains all weights or an adapter."""
    return "LoRA" if training_type.endswith("LoRA") else "full"


def price_of(model: ModelEntry | None, training_type: str | None, catalog: Catalog) -> Price | None:
    """Return what a training costs, spelt in one way however the table spells it; None where that is not known."""
    found = catalog.price(model, method_of(training_type)) if model and training_type else None
    return replace(found, per_1k_tokens=money.plain(Decimal(found.per_1k_tokens))) if found else None


async def make_quote(
    *,
    subject: str,
    known: Mapping[str, KnownDataset | None],
    model: ModelEntry | None,
    training_type: str | None,
    hyperparameters: Mapping[str, Any],
    open_questions: Sequence[str],
    catalog: Catalog,
    draw: Callable[[], Awaitable[Figures | Undrawn]] | None,
) -> Quote:
    """Return the quote for a form or a draft, as far as it is known. ``draw`` is asked only where all else is known.

    ``subject`` is the task or dataset the quote is said about: another one's quote has another id.

    Without every figure there is no amount: ``complete`` is false and ``missing`` names what is. Never a guess from
    characters. Raises Unavailable where the bucket does not answer.
    """
    missing = list(open_questions)
    missing += [f"dataset {name}: not validated yet" for name, found in known.items() if found is None]
    missing += ["base_model"] if model is None else []
    missing += ["training_type"] if training_type is None else []
    method = method_of(training_type) if training_type else None
    price = price_of(model, training_type, catalog)
    if model and method and price is None:
        missing.append(f"price of {model.name} {model.version} ({method})")
    items: list[QuoteItem] = []
    stop: Stop | None = None
    if draw and price and not missing:
        found = await draw()
        if isinstance(found, Figures):
            epochs, seen = found.draws.over(int(hyperparameters.get("epochs", 1)))
            stop = found.draws.stop
            items = [_item(drawn, found.counts[drawn.dataset_id], epochs, price) for drawn in seen]
        else:
            missing += found.reasons
    max_steps = stop.steps if stop and stop.rows else None
    return _quote((subject, contents_of(known)), items, missing, model, method, price, catalog.currency(), max_steps)


def _item(drawn: Drawn, counts: TokenCounts, epochs: int, price: Price) -> QuoteItem:
    factor = FACTORS[drawn.kind]
    return QuoteItem(
        kind=drawn.kind,
        dataset_id=drawn.dataset_id,
        samples=drawn.samples,
        tokens=drawn.tokens,
        epochs=epochs,
        factor=str(factor),
        price_per_1k_tokens=price.per_1k_tokens,
        amount=money.fee(drawn.tokens * epochs, price.per_1k_tokens, factor),
        too_long=tuple(
            TooLong(file=each.file, samples=each.samples, findings_uri=each.findings_uri) for each in counts.left_out
        ),
    )


def contents_of(known: Mapping[str, KnownDataset | None]) -> dict[str, str]:
    """Return a digest of the bytes of each dataset that is known: the same wherever its files lie. Pure."""
    found = {name: each for name, each in known.items() if each}
    return {name: layout.digest(each.format, [file.sha256 for file in each.files]) for name, each in found.items()}


def _quote(
    about: object,
    items: Sequence[QuoteItem],
    missing: Sequence[str],
    model: ModelEntry | None,
    method: Method | None,
    price: Price | None,
    currency: str,
    max_steps: int | None,
) -> Quote:
    amount = money.total(item.amount for item in items) if not missing else None
    model_name = layout.base_name(model.prefix, model.name, model.version) if model else None
    # Not where lists of what is too long lie: the same figures have the same id on any machine.
    figures = [replace(item, too_long=()) for item in items]
    # Only where there is one: quotes that were kept before there were any have their ids still.
    limit = [] if max_steps is None else [max_steps]
    return Quote(
        quote_id="q-" + layout.digest(about, figures, missing, model_name, method, price, *limit)[:24],
        amount=amount,
        currency=price.currency if price else currency,
        complete=not missing,
        missing=tuple(missing),
        items=tuple(items),
        billed_tokens=sum(item.tokens * item.epochs for item in items if Decimal(item.factor)),
        model=model_name,
        method=method,
        price_version=price.version if price else "none",
        price_per_1k_tokens=price.per_1k_tokens if price else None,
        max_steps=max_steps,
    )
