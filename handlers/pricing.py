"""The fee: billed tokens x epochs x price per 1,000 tokens / 1,000, itemised, in decimal arithmetic."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from msgspec.structs import replace

from contracts.quote import Quote, QuoteItem, TooLong
from contracts.task import TrainingDataset
from handlers import layout
from handlers.counting import Counts
from handlers.datasets import KnownDataset
from handlers.money import plain as _plain
from handlers.ports import Catalog, ModelEntry, Price, TokenCounts

#: What a validation sample costs beside a training sample.
VALIDATION_FACTOR = Decimal(0)

#: The value of the hyperparameter ``pairs`` with which the other candidates of a preference are never looked at.
BEST_WORST = "best-worst"

Method = Literal["full", "LoRA"]


def method_of(training_type: str) -> Method:
    """Return whether a training type trains all weights or an adapter."""
    return "LoRA" if training_type.endswith("LoRA") else "full"


async def make_quote(
    *,
    subject: str,
    training_set: Sequence[TrainingDataset],
    known: Mapping[str, KnownDataset | None],
    model: ModelEntry | None,
    training_type: str | None,
    hyperparameters: Mapping[str, Any],
    open_questions: Sequence[str],
    catalog: Catalog,
    counts: Counts | None,
) -> Quote:
    """Return the quote for a form or a draft, as far as it is known. ``counts`` are the model's, where there is one.

    ``subject`` is the task or dataset the quote is said about: another one's quote has another id.

    Without every figure there is no amount: ``complete`` is false and ``missing`` names what is. Never a guess from
    characters. Raises Unavailable where the bucket does not answer.
    """
    missing = list(open_questions)
    missing += [f"dataset {name}: not validated yet" for name, found in known.items() if found is None]
    missing += ["base_model"] if model is None else []
    missing += ["training_type"] if training_type is None else []
    method = method_of(training_type) if training_type else None
    price = catalog.price(model, method) if model and method else None
    if model and method and price is None:
        missing.append(f"price of {model.name} {model.version} ({method})")
    items: list[QuoteItem] = []
    if counts and price and not missing:
        for wanted in training_set:
            item = await _item(wanted, known[wanted.dataset_id], hyperparameters, price, counts)
            items += [item] if isinstance(item, QuoteItem) else []
            missing += [item] if isinstance(item, str) else []
    contents = contents_of(known, [wanted.dataset_id for wanted in training_set])
    return _quote((subject, contents), items, missing, model, method, price)


async def _item(
    wanted: TrainingDataset,
    known: KnownDataset | None,
    hyperparameters: Mapping[str, Any],
    price: Price,
    counts: Counts,
) -> QuoteItem | str:
    if known is None:
        return f"dataset {wanted.dataset_id}: cannot be read"
    found = await counts.of(known)
    if isinstance(found, str):
        return f"dataset {wanted.dataset_id}: {found}"
    billed = _billed(found, wanted, hyperparameters)
    if billed is None:
        return f"dataset {wanted.dataset_id}: the draw of its samples, made when the task is planned"
    samples, total = billed
    epochs = int(hyperparameters.get("epochs", 1))
    amount = Decimal(total) * epochs * Decimal(price.per_1k_tokens) / 1000
    return QuoteItem(
        kind="user",
        dataset_id=wanted.dataset_id,
        samples=samples,
        tokens=total,
        epochs=epochs,
        factor="1",
        price_per_1k_tokens=price.per_1k_tokens,
        amount=_plain(amount),
        too_long=tuple(
            TooLong(file=each.file, samples=each.samples, findings_uri=each.findings_uri) for each in found.left_out
        ),
    )


def _billed(counts: TokenCounts, wanted: TrainingDataset, hyperparameters: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (samples, tokens) where they are exact without drawing samples, else None."""
    multiplier = wanted.multiplier or 1.0
    if wanted.sample_count is not None or multiplier != int(multiplier):
        return None
    total = counts.total_of_extremes if hyperparameters.get("pairs") == BEST_WORST else counts.total
    return counts.samples * int(multiplier), total * int(multiplier)


def contents_of(known: Mapping[str, KnownDataset | None], names: Iterable[str]) -> dict[str, str]:
    """Return a digest of the bytes of each of these datasets that is known: the same wherever its files lie. Pure."""
    found = {name: each for name in names if (each := known.get(name))}
    return {name: layout.digest(each.format, [file.sha256 for file in each.files]) for name, each in found.items()}


def _quote(
    about: object,
    items: Sequence[QuoteItem],
    missing: Sequence[str],
    model: ModelEntry | None,
    method: Method | None,
    price: Price | None,
) -> Quote:
    amount = _plain(sum((Decimal(item.amount) for item in items), Decimal(0))) if not missing else None
    model_name = f"{model.name}@{model.version}" if model else None
    # Not where lists of what is too long lie: the same figures have the same id on any machine.
    figures = [replace(item, too_long=()) for item in items]
    return Quote(
        quote_id="q-" + layout.digest(about, figures, missing, model_name, method, price)[:24],
        amount=amount,
        currency=price.currency if price else "CNY",
        complete=not missing,
        missing=tuple(missing),
        items=tuple(items),
        billed_tokens=sum(item.tokens * item.epochs for item in items),
        model=model_name,
        method=method,
        price_version=price.version if price else "none",
        price_per_1k_tokens=price.per_1k_tokens if price else None,
    )
