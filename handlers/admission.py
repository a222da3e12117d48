"""Whether a task whose reports are all there may train: its datasets, what is left of them, its limit on the fee."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from contracts.quote import Quote
from contracts.task import MaxCost, TaskForm, Tolerance
from contracts.training import Failure
from handlers import quotes
from handlers.counting import Counts
from handlers.datasets import KnownDataset, objection
from handlers.planning.build import FORMATS, packed_to
from handlers.planning.figures import Figures, Undrawn
from handlers.planning.plan import PlannedData
from handlers.planning.selection import Draws
from handlers.ports.catalog import Catalog, ModelEntry
from handlers.ports.planner import Planner
from handlers.ports.tokens import TokenCounter, TokenCounts
from handlers.pricing import make_quote
from handlers.quotes import Citation, KeptQuote
from handlers.submissions import Judged
from handlers.task_data import TaskData, WantedData, wanted_data


class Admission(NamedTuple):
    """``refused`` is why the task may not train; None: it may.

    ``quote`` is what it is dispatched under, made now or cited; ``data`` what it trains on, ``draws`` what came of the
    draw: None where samples could not be counted.
    """

    refused: Failure | None
    quote: KeptQuote | None = None
    data: PlannedData | None = None
    draws: Draws | None = None


async def admit(
    form: TaskForm,
    judged: Judged,
    model: ModelEntry,
    known: Mapping[str, KnownDataset],
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    citation: Citation | None = None,
    forbidden: Sequence[str] = (),
) -> Admission:
    """Decide whether a task may train, and which quote it is billed by. Where it may, every line's fate is stored.

    ``forbidden`` is what its project may not read of the form's own datasets: nothing of any is looked at then.

    Raises Unavailable where the bucket does not answer, Transient where a process was killed.
    """
    wanted = wanted_data(form, catalog)
    if forbidden:
        return Admission(Failure("dataset-not-allowed", "user", "; ".join(forbidden), retryable=False))
    if refused := _rejected(form, known, wanted):
        return Admission(refused)
    rows = packed_to(form.training_type, model)
    data = TaskData(wanted, known, Counts(model, tokens), planner, judged.hyperparameters, rows)
    kept, _ = await data.counted()
    drawn = await data.figures(form.task_id)

    async def draw() -> Figures | Undrawn:
        return drawn

    now = await make_quote(
        subject=form.task_id,
        known=known,
        model=model,
        training_type=form.training_type,
        hyperparameters=judged.hyperparameters,
        open_questions=[],
        catalog=catalog,
        draw=draw,
    )
    made = quotes.about(now, known, task_id=form.task_id, project=form.project)
    refused = _nothing_left(form, model, kept) or _undrawable(drawn)
    quote = quotes.in_force(citation, made)
    if isinstance(quote, Failure):
        return Admission(refused or quote, made)
    refused = refused or (_over(form.max_cost, quote) if form.max_cost else None)
    draws = drawn.draws if isinstance(drawn, Figures) and drawn.draws.listed else None
    return Admission(refused, replace(made, quote=quote), await data.planned(), draws)


def _rejected(form: TaskForm, known: Mapping[str, KnownDataset], wanted: WantedData) -> Failure | None:
    own = wanted.own_ids()
    problems = [problem for name in own for problem in _problems(form, known[name], form.tolerance)]
    if problems:
        return Failure("dataset-rejected", "user", "; ".join(problems), retryable=False)
    # What a form tolerates is about its user's data.
    presets = [name for name in known if name not in own]
    problems = [f"preset {problem}" for name in presets for problem in _problems(form, known[name], Tolerance())]
    return Failure("preset-rejected", "platform", "; ".join(problems), retryable=False) if problems else None


def _problems(form: TaskForm, known: KnownDataset, tolerance: Tolerance) -> list[str]:
    name = f"dataset {known.dataset_id}"
    if reason := objection(known, tolerance):
        return [f"{name}: {reason}"]
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


def _undrawable(drawn: Figures | Undrawn) -> Failure | None:
    """Return why what was drawn cannot be trained on."""
    if isinstance(drawn, Undrawn):
        return drawn.refusal
    if drawn.draws.of("user") or not drawn.draws.listed:
        return None
    why = Counter[str]()
    for each in drawn.draws.excluded:
        why[each.reason] += each.samples if each.kind == "user" else 0
    why["in validation"] = sum(each.samples for each in drawn.draws.drawn if each.kind == "validation")
    reasons = ", ".join(f"{reason}: {samples}" for reason, samples in why.items() if samples)
    return Failure("nothing-to-train", "user", f"no sample is left to train on ({reasons})", retryable=False)


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
