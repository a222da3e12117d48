"""Whether a task whose reports are all there may train: its datasets, what is left of them, its limit on the fee."""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from contracts.quote import Quote
from contracts.task import MaxCost, TaskForm
from contracts.training import Failure
from handlers import quotes
from handlers.counting import Counts
from handlers.datasets import KnownDataset, acceptable
from handlers.planning.build import FORMATS
from handlers.ports import Catalog, ModelEntry, TokenCounter, TokenCounts
from handlers.pricing import make_quote
from handlers.quotes import Citation, KeptQuote
from handlers.submissions import Judged


class Admission(NamedTuple):
    """``refused`` is why the task may not train; None: it may.

    ``quote`` is what it is dispatched under, made now or cited. ``kept`` are the samples of each dataset that are
    trained on, neither invalid nor too long for the model: without an entry where they could not be counted.
    """

    refused: Failure | None
    quote: KeptQuote | None = None
    kept: Mapping[str, TokenCounts] = {}


async def admit(
    form: TaskForm,
    judged: Judged,
    model: ModelEntry,
    known: Mapping[str, KnownDataset],
    catalog: Catalog,
    tokens: TokenCounter,
    citation: Citation | None = None,
) -> Admission:
    """Decide whether a task may train, and which quote it is billed by.

    Raises Unavailable where the bucket does not answer.
    """
    problems = [problem for found in known.values() for problem in _problems(form, found)]
    if problems:
        return Admission(Failure("dataset-rejected", "user", "; ".join(problems), retryable=False))
    counts = Counts(model, tokens)
    found = {name: await counts.of(dataset) for name, dataset in known.items()}
    kept = {name: each for name, each in found.items() if isinstance(each, TokenCounts)}
    now = await make_quote(
        subject=form.task_id,
        training_set=form.training_set,
        known=known,
        model=model,
        training_type=form.training_type,
        hyperparameters=judged.hyperparameters,
        open_questions=["validation: the split"] if form.validation and form.validation.percent else [],
        catalog=catalog,
        counts=counts,
    )
    made = quotes.about(now, known, task_id=form.task_id, project=form.project)
    quote = quotes.in_force(citation, made)
    if isinstance(quote, Failure):
        return Admission(_nothing_left(form, model, kept) or quote, made)
    refused = _nothing_left(form, model, kept) or (_over(form.max_cost, quote) if form.max_cost else None)
    return Admission(refused, replace(made, quote=quote), kept)


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


def _nothing_left(form: TaskForm, model: ModelEntry, kept: Mapping[str, TokenCounts]) -> Failure | None:
    counts = [kept.get(wanted.dataset_id) for wanted in form.training_set]
    too_long = sum(each.too_long for each in counts if each)
    if not too_long or any(each is None or each.samples for each in counts):
        return None
    message = (
        f"no sample is left to train on: all {too_long} valid samples are longer than the context of "
        f"{model.name}, {model.context_length} tokens"
    )
    return Failure("nothing-to-train", "user", message, retryable=False)


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
