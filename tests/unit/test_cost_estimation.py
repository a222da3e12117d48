"""The fee: exact to the last digit, complete or with what is missing, and once an import."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.hyperparameters import HyperparameterRule
from contracts.quote import CostEstimated
from handlers.errors import Unavailable
from handlers.ports import TokenCounts
from handlers.pricing import method_of
from tests.fakes.faults import faulty_world, survives
from tests.fakes.steps import steps_of
from tests.fakes.world import TINY, World, bodies, form, ids, received

LINES = b"{}\n"


class Stub:
    """A counter or a scanner with an answer of the test's: what is asked is ignored."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer

    async def count(self, files: Any, *_: Any) -> TokenCounts:
        found = self._answer(files)
        assert isinstance(found, TokenCounts)
        return found

    scan = count


def _raises(error: Exception) -> Stub:
    def raise_it(_: Any) -> None:
        raise error

    return Stub(raise_it)


async def _verdict(world: World, dataset_id: str = "d-1", **changes: Any) -> Event[Any]:
    """Import and validate a dataset, with a draft unless the changes say otherwise; return its verdict."""
    imported = await world.import_dataset(dataset_id, LINES, **({"draft": form()} | changes))
    (said,) = (await world.deliver("dataset-validation", imported)).events
    return received(said)


async def _estimate(world: World, verdict: Event[Any]) -> CostEstimated:
    outcome = await world.deliver("cost-estimation", verdict)
    (said,) = outcome.events
    estimated = received(said).data
    assert isinstance(estimated, CostEstimated)
    assert outcome.name == ("estimated" if estimated.quote.complete else "incomplete")
    return estimated


async def test_the_fee_is_tokens_times_epochs_times_price() -> None:
    world = World()
    estimated = await _estimate(world, await _verdict(world))
    quote = estimated.quote
    assert (quote.complete, quote.missing) == (True, ())
    assert (quote.amount, quote.currency) == ("0.0018", "CNY")
    assert (quote.model, quote.method, quote.price_version) == ("tiny@1", "LoRA", "2026-01")
    assert quote.billed_tokens == 60
    (item,) = quote.items
    assert (item.kind, item.samples, item.tokens, item.epochs, item.amount) == ("user", 3, 30, 2, "0.0018")
    assert (estimated.task_id, estimated.dataset_ids) == ("t-1", ("d-1",))


@pytest.mark.parametrize(
    ("training_type", "price", "samples", "amount"),
    [
        ("FinetuneSft", "0.05", 3, "0.003"),
        ("FinetuneLoRA", "0.03", 0, "0.00"),
        ("FinetuneLoRA", "0", 3, "0.00"),
        ("FinetuneLoRA", "0.1", 1, "0.002"),
        ("FinetuneLoRA", "50", 5_000, "5000.00"),
        ("FinetuneLoRA", "0.000001", 1, "0.00000002"),
        ("FinetuneLoRA", "123456.789", 10**9, "2469135780000.00"),
    ],
)
async def test_amounts_are_plain_decimals(training_type: str, price: str, samples: int, amount: str) -> None:
    world = World()
    world.tokens.samples = samples
    world.catalog.prices[method_of(training_type)] = price
    estimated = await _estimate(world, await _verdict(world, draft=form(training_type=training_type)))
    assert estimated.quote.amount == amount


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 100)), min_size=1, max_size=5),
    st.decimals("0", "999", places=6),
    st.integers(1, 10),
)
def test_the_amount_is_exact_and_the_sum_of_its_items(
    datasets: list[tuple[int, int]], price: Decimal, epochs: int
) -> None:
    world = World()
    world.catalog.prices["LoRA"] = format(price, "f")
    totals = {f"d-{number}": total for number, (total, _) in enumerate(datasets)}

    def count(files: Any) -> TokenCounts:
        name = files[0].uri.rsplit("/", 1)[1].removesuffix(".jsonl")
        return TokenCounts(samples=1, total=totals[name], trained=0, masked=0, longest=0, histogram={})

    world.ports["tokens"] = Stub(count)
    training_set = [
        {"dataset_id": f"d-{number}", "multiplier": multiplier} for number, (_, multiplier) in enumerate(datasets)
    ]
    draft = form(training_set=training_set, hyperparameters={"epochs": epochs})

    async def story() -> None:
        for name in totals:
            verdict = await _verdict(world, name, draft=draft)
        quote = (await _estimate(world, verdict)).quote
        tokens = sum(total * multiplier for total, multiplier in datasets)
        assert quote.complete
        assert Fraction(quote.amount or "") == Fraction(tokens) * epochs * Fraction(price) / 1000
        assert Fraction(quote.amount or "") == sum(Fraction(item.amount) for item in quote.items)
        assert quote.billed_tokens == tokens * epochs

    steps_of(story())


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"base_model": None}, "base_model"),
        ({"base_model": {"foundation": {"name": "gone", "version": "1"}}}, "base_model"),
        ({"training_type": None}, "training_type"),
        ({"training_type": "no-such-type"}, "training_type"),
        ({"hyperparameters": {"epochs": 99}}, "hyperparameters.epochs"),
        ({"training_set": [{"dataset_id": "d-1"}, {"dataset_id": "d-2"}]}, "dataset d-2: not validated yet"),
        ({"training_set": [{"dataset_id": "d-1", "sample_count": 2}]}, "dataset d-1: the draw"),
        ({"training_set": [{"dataset_id": "d-1", "multiplier": 1.5}]}, "dataset d-1: the draw"),
        ({"validation": {"percent": 10}}, "validation"),
        ({"preset_mix": {"percent": 10}}, "preset_mix"),
    ],
)
async def test_without_every_figure_there_is_no_amount_and_what_is_missing_is_named(
    changes: dict[str, Any], missing: str
) -> None:
    world = World()
    quote = (await _estimate(world, await _verdict(world, draft=form(**changes)))).quote
    assert (quote.complete, quote.amount) == (False, None)
    assert any(named.startswith(missing) for named in quote.missing), quote.missing


async def test_all_that_is_missing_is_named_at_once() -> None:
    world = World()
    draft = form(base_model=None, training_type=None, training_set=[{"dataset_id": "d-1"}, {"dataset_id": "d-2"}])
    quote = (await _estimate(world, await _verdict(world, draft=draft))).quote
    assert {"base_model", "training_type"} < set(quote.missing)
    assert len(quote.missing) == 3


async def test_a_model_without_a_price_is_missing_its_price() -> None:
    world = World()
    world.catalog.prices.clear()
    assert "price of tiny 1 (LoRA)" in (await _estimate(world, await _verdict(world))).quote.missing


async def test_a_dataset_imported_without_a_draft_is_answered_too() -> None:
    world = World()
    verdict = await _verdict(world, draft=None)
    estimated = await _estimate(world, verdict)
    assert (estimated.task_id, estimated.dataset_ids, estimated.quote.complete) == (None, ("d-1",), False)
    (said,) = (await world.deliver("cost-estimation", verdict)).events
    assert (said.key, said.correlation_id) == ("d-1", "d-1")


async def test_tokens_that_cannot_be_counted_yet_leave_the_quote_open_and_the_next_delivery_completes_it() -> None:
    world = World()
    verdict = await _verdict(world)
    world.ports["tokens"] = _raises(LookupError("no tokenizer.json under base-models/tiny/1/"))
    first = await world.deliver("cost-estimation", verdict)
    again = await world.deliver("cost-estimation", verdict)
    assert bodies(again.events) == bodies(first.events)
    assert first.name == "incomplete"
    world.ports["tokens"] = world.tokens
    complete = await world.deliver("cost-estimation", verdict)
    assert complete.name == "estimated"
    assert ids(complete.events) != ids(first.events)


async def test_the_bucket_s_silence_is_no_missing_part() -> None:
    world = World()
    verdict = await _verdict(world)
    world.ports["tokens"] = _raises(Unavailable("the bucket does not answer"))
    with pytest.raises(Unavailable):
        await world.deliver("cost-estimation", verdict)


# --- once ----------------------------------------------------------------------------------------------------


async def test_the_same_draft_twice_is_one_estimate_however_long_after() -> None:
    world = World()
    verdict = await _verdict(world)
    first = await world.deliver("cost-estimation", verdict)
    await world.clock.advance(timedelta(days=900).total_seconds())
    again = await world.deliver("cost-estimation", verdict)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))
    assert again.events[0].time == first.events[0].time


async def test_two_datasets_of_one_task_that_cross_are_one_estimate_under_one_id() -> None:
    world = World()
    draft = form("t-1", "d-1", "d-2")
    at = "2026-01-01T00:00:00Z"
    verdicts = [await _verdict(world, name, draft=draft, imported_at=at) for name in ("d-1", "d-2")]
    said = [(await world.deliver("cost-estimation", verdict)).events for verdict in verdicts]
    assert bodies(said[0]) == bodies(said[1])
    assert ids(said[0]) == ids(said[1])


async def test_of_several_imports_of_a_task_only_the_newest_is_priced() -> None:
    world = World()
    draft = form("t-1", "d-1", "d-2")
    older = await _verdict(world, "d-1", draft=draft, imported_at="2026-01-01T00:00:01Z")
    newer = await _verdict(world, "d-2", draft=draft, imported_at="2026-01-01T00:00:02Z")
    superseded = await world.deliver("cost-estimation", older)
    assert (superseded.name, superseded.events) == ("superseded", ())
    assert (await _estimate(world, newer)).quote.complete


async def test_a_newer_import_supersedes_while_it_is_still_being_validated() -> None:
    world = World()
    older = await _verdict(world, imported_at="2026-01-01T00:00:01Z")
    imported = await world.import_dataset("d-2", LINES, draft=form(), imported_at="2026-01-01T00:00:02Z")
    world.ports["scanner"] = _raises(Unavailable("in the middle of the scan"))
    with pytest.raises(Unavailable):
        await world.deliver("dataset-validation", imported)
    assert (await world.deliver("cost-estimation", older)).name == "superseded"


async def test_an_import_for_another_task_supersedes_nothing() -> None:
    world = World()
    older = await _verdict(world, imported_at="2026-01-01T00:00:01Z")
    await _verdict(world, "d-2", draft=form("t-2", "d-2"), imported_at="2026-01-01T00:00:02Z")
    assert (await _estimate(world, older)).quote.complete


async def test_new_prices_rules_or_verdicts_are_another_estimate() -> None:
    world = World()
    verdict = await _verdict(world)
    estimates = [await world.deliver("cost-estimation", verdict)]
    world.catalog.prices["LoRA"] = "0.04"
    estimates.append(await world.deliver("cost-estimation", verdict))
    three = {"epochs": HyperparameterRule(type="int", default=3)}
    world.catalog.entries[0] = replace(TINY, training_types={"FinetuneLoRA": three})
    estimates.append(await world.deliver("cost-estimation", verdict))
    world.scanner.samples = 9
    imported = await world.import_dataset("d-1", LINES * 9)
    await world.deliver("dataset-validation", replace(imported, id="again", time=imported.time + timedelta(seconds=1)))
    estimates.append(await world.deliver("cost-estimation", verdict))
    assert len({ids(estimate.events)[0] for estimate in estimates}) == len(estimates)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_the_same_estimate_is_said(*, after: bool) -> None:
    world, faults = faulty_world()
    verdict = await _verdict(world)
    already = len(faults.calls)
    baseline = await world.deliver("cost-estimation", verdict)
    for at in range(len(faults.calls) - already):
        world, faults = faulty_world()
        verdict = await _verdict(world)
        outcome = await survives(faults, at, after=after, deliver=partial(world.deliver, "cost-estimation", verdict))
        assert (ids(outcome.events), bodies(outcome.events)) == (ids(baseline.events), bodies(baseline.events))
        assert len(world.keys("receipts/cost-estimation/")) == 1
