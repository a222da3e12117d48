"""Whether a task whose reports are all there may train: its datasets, their format, its limit on the fee."""

from collections.abc import Mapping
from decimal import Decimal

from contracts.quote import Quote
from contracts.task import MaxCost, TaskForm
from contracts.training import Failure
from handlers.datasets import KnownDataset, acceptable
from handlers.planning.build import FORMATS
from handlers.ports import Catalog, TokenCounter
from handlers.pricing import make_quote
from handlers.submissions import Judged


async def refusal(
    form: TaskForm, judged: Judged, known: Mapping[str, KnownDataset], catalog: Catalog, tokens: TokenCounter
) -> tuple[Failure | None, Quote | None]:
    """Return why the task may not train (None: it may), and the quote it is dispatched under."""
    problems = [problem for found in known.values() for problem in _problems(form, found)]
    if problems:
        return Failure("dataset-rejected", "user", "; ".join(problems), retryable=False), None
    quote = await make_quote(
        training_set=form.training_set,
        known=known,
        model=judged.model,
        training_type=form.training_type,
        hyperparameters=judged.hyperparameters,
        open_questions=["validation: the split"] if form.validation and form.validation.percent else [],
        catalog=catalog,
        tokens=tokens,
    )
    return (_over(form.max_cost, quote) if form.max_cost else None), quote


def _problems(form: TaskForm, known: KnownDataset) -> list[str]:
    name = f"dataset {known.dataset_id}"
    if known.unreadable is not None:
        return [f"{name} cannot be read: {known.unreadable}"]
    if not acceptable(known, form.tolerance):
        invalid = known.samples - known.valid_samples
        codes = ", ".join(sorted(known.totals)) or "empty"
        return [f"{name}: {invalid} of {known.samples} samples are invalid ({codes}); see its report"]
    wanted = FORMATS[form.training_type]
    if known.format != wanted:
        return [f"{name} is in format {known.format}, but {form.training_type} trains on {wanted}"]
    return []


def _over(limit: MaxCost, quote: Quote) -> Failure | None:
    if quote.amount is None:
        message = f"max_cost is set, but the fee is not known: {'; '.join(quote.missing)}"
        return Failure("cost-unknown", "platform", message, retryable=False)
    if quote.currency != limit.currency:
        message = f"max_cost is in {limit.currency}, but this platform bills in {quote.currency}"
        return Failure("max-cost-currency", "user", message, retryable=False)
    if Decimal(quote.amount) > Decimal(limit.amount):
        message = f"the fee is {quote.amount} {quote.currency}, above max_cost {limit.amount} {limit.currency}"
        return Failure("max-cost-exceeded", "user", message, retryable=False)
    return None
