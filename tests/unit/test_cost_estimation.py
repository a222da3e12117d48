"""The fee: exact to the last digit, complete or with what is missing, and once an import."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts.quote import TooLong
from handlers.errors import Unavailable
from handlers.outcome import Outcome
from handlers.ports.tokens import LeftOutSamples, TokenCounts
from handlers.pricing import method_of
from tests.fakes.estimation import Stub, estimate, raises, verdict_on
from tests.fakes.steps import steps_of
from tests.fakes.world import World, bodies, form, form_event, ids, received
from worker.catalog import load_catalog


async def test_the_fee_is_tokens_times_epochs_times_price() -> None:
    world = World()
    estimated = await estimate(world, await verdict_on(world))
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
        ("FinetuneLoRA", "123456789.123456789", 10**15 + 1, "2469135782469138249135.78246913578"),
    ],
)
async def test_amounts_are_plain_decimals(training_type: str, price: str, samples: int, amount: str) -> None:
    world = World()
    world.tokens.samples = samples
    world.catalog.prices[method_of(training_type)] = price
    estimated = await estimate(world, await verdict_on(world, draft=form(training_type=training_type)))
    assert estimated.quote.amount == amount


async def test_a_sum_is_as_exact_as_its_items() -> None:
    world = World()
    world.catalog.prices["LoRA"] = "123456789.123456789"
    world.tokens.samples = 10**15 + 1
    await verdict_on(world, draft=None)
    draft = form(training_set=[{"dataset_id": "d-1"}, {"dataset_id": "d-2", "multiplier": 100}])
    quote = (await estimate(world, await verdict_on(world, "d-2", draft=draft))).quote
    assert Fraction(quote.amount or "") == sum(Fraction(item.amount) for item in quote.items)


@pytest.mark.parametrize(("pairs", "billed"), [(None, 7), ("best-worst", 7), ("all", 10)])
async def test_of_a_preference_only_the_candidates_that_are_compared_are_billed(pairs: str | None, billed: int) -> None:
    world = World()
    world.ports["catalog"] = load_catalog()
    world.scanner.format = "preference"
    world.ports["tokens"] = Stub(
        lambda _: TokenCounts(samples=1, total=10, trained=0, masked=0, longest=0, histogram={}, total_of_extremes=7)
    )
    hyperparameters = {"epochs": 3} | ({"pairs": pairs} if pairs else {})
    draft = form(training_type="DPO", hyperparameters=hyperparameters)
    estimated = await estimate(world, await verdict_on(world, draft=draft))
    assert estimated.quote.complete
    assert estimated.quote.billed_tokens == 3 * billed


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
            verdict = await verdict_on(world, name, draft=draft)
        quote = (await estimate(world, verdict)).quote
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
        ({"training_set": [{"dataset_id": "d-1", "sample_count": 2}]}, "dataset d-1: its samples are not counted"),
        ({"training_set": [{"dataset_id": "d-1", "multiplier": 1.5}]}, "dataset d-1: its samples are not counted"),
        ({"training_type": "DPO"}, "training_type: DPO is not available for tiny"),
        ({"training_type": "DPO"}, "dataset d-1: is in format sft, but DPO trains on preference"),
        ({"validation": {"percent": 10}}, "dataset d-1: its samples are not counted"),
        ({"preset_mix": {"percent": 10}}, "preset_mix"),
        ({"training_set": [{"dataset_id": "d-1", "sample_count": 10**9}]}, "training_set[0].sample_count: must be at"),
        ({"hyperparameters": {"epochs": [9]}}, "hyperparameters.epochs: must be"),
    ],
)
async def test_without_every_figure_there_is_no_amount_and_what_is_missing_is_named(
    changes: dict[str, Any], missing: str
) -> None:
    world = World()
    quote = (await estimate(world, await verdict_on(world, draft=form(**changes)))).quote
    assert (quote.complete, quote.amount) == (False, None)
    assert any(named.startswith(missing) for named in quote.missing), quote.missing


async def test_all_that_is_missing_is_named_at_once() -> None:
    world = World()
    draft = form(base_model=None, training_type=None, training_set=[{"dataset_id": "d-1"}, {"dataset_id": "d-2"}])
    quote = (await estimate(world, await verdict_on(world, draft=draft))).quote
    assert {"base_model", "training_type"} < set(quote.missing)
    assert len(quote.missing) == 3


async def test_a_model_without_a_price_is_missing_its_price() -> None:
    world = World()
    world.catalog.prices.clear()
    assert "price of tiny 1 (LoRA)" in (await estimate(world, await verdict_on(world))).quote.missing


@pytest.mark.parametrize("prices", [{"LoRA": "0.03"}, {}])
async def test_the_currency_is_the_price_table_s_also_where_it_has_no_price(prices: dict[str, str]) -> None:
    world = World()
    world.catalog.prices, world.catalog.priced_in = prices, "EUR"
    quote = (await estimate(world, await verdict_on(world))).quote
    assert (quote.complete, quote.currency) == (bool(prices), "EUR")


async def test_a_dataset_that_is_wrong_as_a_whole_has_no_price() -> None:
    world = World()
    world.scanner.totals = {"wrong-format": 1}
    quote = (await estimate(world, await verdict_on(world))).quote
    assert not quote.complete
    assert quote.missing == ("dataset d-1: cannot be trained on (wrong-format); see its report",)


@pytest.mark.parametrize(
    ("tolerance", "complete"),
    [(None, False), ({"max_invalid_records": 0}, False), ({"max_invalid_records": 1}, True)],
)
async def test_data_that_a_dispatch_would_refuse_has_no_price(
    tolerance: dict[str, int] | None, *, complete: bool
) -> None:
    world = World()
    await verdict_on(world, draft=None)
    world.scanner.invalid = 1
    await verdict_on(world, "d-2", draft=None)
    world.scanner.invalid = 0
    draft = form("t-1", "d-1", "d-2", tolerance=tolerance)
    quote = (await estimate(world, await verdict_on(world, "d-3", draft=draft))).quote
    assert quote.complete is complete
    problem = "dataset d-2: 1 of 3 samples are invalid (invalid-json); mend or tolerate them; see its report"
    assert quote.missing == (() if complete else (problem,))


async def test_a_rejected_dataset_is_priced_by_what_its_draft_tolerates() -> None:
    world = World()
    world.scanner.invalid = 1
    tolerant = await verdict_on(world, draft=form(tolerance={"max_invalid_ratio": 0.5}))
    assert tolerant.topic == "dataset.rejected"
    quote = (await estimate(world, tolerant)).quote
    assert (quote.complete, quote.amount) == (True, "0.0018")
    strict = (await estimate(world, await verdict_on(world, draft=form("t-2")))).quote
    assert (strict.complete, len(strict.missing)) == (False, 1)
    sent = form_event(quote_id=quote.quote_id, tolerance={"max_invalid_ratio": 0.5})
    await world.deliver("training-dispatch", sent)
    assert len(world.submitted) == 1


async def test_nobody_is_told_the_fee_of_a_rejected_dataset_who_did_not_ask() -> None:
    world = World()
    world.scanner.invalid = 1
    assert await world.deliver("cost-estimation", await verdict_on(world, draft=None)) == Outcome(
        name="nothing-to-price"
    )


async def test_a_rejected_import_supersedes_the_fee_of_the_one_before() -> None:
    world = World()
    first = await estimate(world, await verdict_on(world, imported_at="2026-01-01T00:00:01Z"))
    world.scanner.invalid = 1
    later = await world.import_dataset("d-1", b"{}\nx\n", draft=form(), imported_at="2026-01-01T00:00:02Z")
    (said,) = (await world.deliver("dataset-validation", replace(later, id="later"))).events
    second = await estimate(world, received(said))
    assert (first.revision, second.revision, second.quote.complete) == (1, 2, False)


async def test_what_is_too_long_is_not_billed_and_named_with_its_list() -> None:
    world = World()
    left_out = LeftOutSamples(file="memory://bucket/a.jsonl", samples=2, findings_uri="memory://bucket/list.ndjson")

    def count(_: Any) -> TokenCounts:
        return TokenCounts(
            samples=1, total=10, trained=5, masked=5, longest=10, histogram={16: 1}, too_long=2, left_out=(left_out,)
        )

    verdict = await verdict_on(world)
    world.ports["tokens"] = Stub(count)
    (item,) = (await estimate(world, verdict)).quote.items
    assert (item.samples, item.tokens) == (1, 10)
    assert item.too_long == (TooLong(file=left_out.file, samples=2, findings_uri=left_out.findings_uri),)


async def test_a_dataset_imported_without_a_draft_is_answered_too() -> None:
    world = World()
    verdict = await verdict_on(world, draft=None)
    estimated = await estimate(world, verdict)
    assert (estimated.task_id, estimated.dataset_ids, estimated.quote.complete) == (None, ("d-1",), False)
    (said,) = (await world.deliver("cost-estimation", verdict)).events
    assert (said.key, said.correlation_id) == ("d-1", "d-1")


async def test_tokens_that_cannot_be_counted_yet_leave_the_quote_open_and_the_next_delivery_completes_it() -> None:
    world = World()
    verdict = await verdict_on(world)
    world.ports["tokens"] = raises(LookupError("no tokenizer.json under base-models/tiny/1/"))
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
    verdict = await verdict_on(world)
    world.ports["tokens"] = raises(Unavailable("the bucket does not answer"))
    with pytest.raises(Unavailable):
        await world.deliver("cost-estimation", verdict)
