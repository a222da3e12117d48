"""What people read of a demo: one story, whose numbers fit together."""

import io
from datetime import UTC, datetime

from rich.console import Console

from contracts.quote import CostEstimated, Quote, QuoteItem
from tests.fakes.events import event
from worker.demo.facts import Facts
from worker.demo.view import View

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ITEM = QuoteItem(
    kind="user", dataset_id="d", samples=8, tokens=621, epochs=30, factor="1", price_per_1k_tokens="0.0002",
    amount="0.003726",
)  # fmt: skip
QUOTE = Quote(
    quote_id="q", amount="0.003726", currency="CNY", complete=True, missing=(), items=(ITEM,), billed_tokens=18_630,
    model="tiny", method="full", price_version="1",
)  # fmt: skip
FEE = event("cost.estimated", CostEstimated(task_id="t", dataset_ids=("d",), project="p", quote=QUOTE))


def _view() -> tuple[View, io.StringIO]:
    out = io.StringIO()
    return View(Console(file=out, width=80), NOW), out


def test_the_billed_tokens_are_related_to_the_dataset_s_wherever_the_fee_is_said() -> None:
    view, out = _view()
    facts = Facts("t", "d", NOW)
    facts.take(FEE)
    view.event(FEE, NOW)
    view.table(facts, 621, {})
    text = " ".join(out.getvalue().replace("│", " ").split())
    assert text.count("0.003726 CNY for 18,630 tokens (621 x 30 epochs)") == 2
    assert "tokens 621" in text


def test_a_model_that_cannot_speak_is_not_made_to_and_answers_are_no_markup() -> None:
    view, out = _view()
    view.answers("prompt?", None, "[bold]an answer[/bold]")
    assert "not asked: its weights are random" in out.getvalue()
    assert "[bold]an answer[/bold]" in out.getvalue()
