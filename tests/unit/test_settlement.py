"""What a task is billed at its end: its quote, what was trained, or nothing; exact, and the same at every replay."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.task import Phase, Settlement
from handlers.settlement import Quoted, Trained, settle
from tests.fakes.estimation import estimate, raises, verdict_on
from tests.fakes.events import event
from tests.fakes.swept import PATIENCE, Swept
from tests.fakes.world import World, bodies, command_event, form_event, ids, statuses


def step(number: int, tokens: int) -> dict[str, Any]:
    return {"step": number, "total_steps": 6, "trained_tokens": tokens}


def failure(reason: str, party: str) -> dict[str, Any]:
    return {"reason": reason, "party": party, "message": "m", "retryable": False}


async def settled(world: World) -> Settlement:
    """Return what the task's status says now, as any redelivery would."""
    said = statuses((await world.deliver("training-dispatch", form_event())).events)[-1]
    assert said.terminal
    assert said.settlement is not None
    return said.settlement


async def succeeded(world: World) -> None:
    outputs = [await world.leave_output()]
    await world.run(*(await world.progress("succeeded", 9, progress=step(6, 60), outputs=outputs)).events)


async def test_a_success_is_billed_its_quote_to_the_cent() -> None:
    world = World()
    quote = (await estimate(world, await verdict_on(world))).quote
    await world.run(form_event(quote_id=quote.quote_id))
    await succeeded(world)
    due = await settled(world)
    assert (due.basis, due.amount, due.currency, due.party) == ("quote", quote.amount, quote.currency, None)
    assert (due.quote_id, due.quoted_amount) == (quote.quote_id, quote.amount)
    assert (due.quoted_tokens, due.trained_tokens, due.steps) == (quote.billed_tokens, 60, 6)


async def test_a_price_that_changes_while_it_trains_changes_nothing() -> None:
    world = World()
    await world.dispatched()
    world.catalog.prices["LoRA"] = "9"
    await succeeded(world)
    assert (await settled(world)).amount == "0.0018"


@pytest.mark.parametrize(
    ("tokens", "amount"),
    [
        (0, "0.00"),
        (1, "0.00003"),
        (37, "0.00111"),
        # More than was quoted: several devices may have to see a sample twice.
        (61, "0.0018"),
    ],
)
async def test_who_stops_a_task_is_billed_what_was_trained_and_no_more_than_the_quote(tokens: int, amount: str) -> None:
    world = World()
    await world.dispatched()
    await world.progress("running", progress=step(3, tokens))
    await world.run(command_event("stop"))
    await world.progress("stopped", 1)
    due = await settled(world)
    assert (due.basis, due.amount, due.party) == ("trained", amount, "user")
    assert (due.trained_tokens, due.steps, due.quoted_amount) == (tokens, 3, "0.0018")


@pytest.mark.parametrize(
    ("reason", "party", "basis", "amount"),
    [
        ("loss-diverged", "user", "trained", "0.0012"),
        ("model-refused", "platform", "nothing", "0.00"),
        ("something-else", "unknown", "nothing", "0.00"),
    ],
)
async def test_a_failure_is_billed_by_whose_matter_it_is(reason: str, party: str, basis: str, amount: str) -> None:
    world = World()
    await world.dispatched()
    await world.progress("failed", progress=step(4, 40), failure=failure(reason, party))
    due = await settled(world)
    assert (due.basis, due.amount, due.party, due.trained_tokens) == (basis, amount, party, 40)


@pytest.mark.parametrize(("checkpoint", "left"), [(True, Trained(steps=2, tokens=20)), (False, Trained())])
async def test_what_a_machine_s_fault_lost_is_not_billed(*, checkpoint: bool, left: Trained) -> None:
    swept = Swept()
    world = swept.world
    await world.dispatched()
    saved = {"step": 2, "uri": world.store.uri("tasks/t-1/attempts/1/checkpoints/2/"), "trained_tokens": 20}
    said: dict[str, Any] = {"checkpoint": saved} if checkpoint else {}
    await world.progress("running", progress=step(5, 50), **said)
    world.executor.lose("t-1", 1)
    await swept.sweep()
    await swept.sweep(after=2 * PATIENCE)
    assert (await world.state("t-1")).attempt == 2
    await world.run(command_event("stop"))
    world.executor.end("t-1", 2, -15)
    await swept.sweep(after=2 * PATIENCE)
    due = await settled(world)
    assert (due.steps, due.trained_tokens) == (left.steps, left.tokens)
    assert Fraction(due.amount or "") == Fraction(left.tokens) * Fraction("0.03") / 1000


async def test_what_was_never_dispatched_costs_nothing() -> None:
    world = World()
    said = await world.run(form_event(name="not allowed!"))
    due = statuses(said)[-1].settlement
    assert due is not None
    assert (due.basis, due.amount, due.currency, due.quote_id) == ("nothing", "0.00", None, None)


@pytest.mark.parametrize(("price", "amount"), [("0.03", "0.0018"), (None, None)])
async def test_a_success_without_a_complete_quote_is_billed_what_was_trained(
    price: str | None, amount: str | None
) -> None:
    world = World()
    world.ports["tokens"] = raises(LookupError("no tokenizer"))
    if price is None:
        world.catalog.prices.clear()
    await world.dispatched()
    await succeeded(world)
    due = await settled(world)
    assert (due.basis, due.amount, due.quoted_amount) == ("trained", amount, None)


async def test_the_bill_stays_whatever_is_said_and_done_later() -> None:
    world = World()
    await world.dispatched()
    await succeeded(world)
    before = await settled(world)
    await world.run(command_event("pause"), command_event("delete"), command_event("export"))
    world.catalog.prices["LoRA"] = "9"
    first = await world.deliver("training-dispatch", form_event())
    await world.clock.advance(900 * 86400)
    late = event("training.progress", {"task_id": "t-1", "attempt": 1, "seq": 99, "state": "failed"})
    await world.deliver("training-progress", late)
    again = await world.deliver("training-dispatch", form_event())
    assert await settled(world) == before
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))


async def test_a_task_that_goes_on_has_no_bill() -> None:
    world = World()
    await world.dispatched()
    said = await world.progress("running", progress=step(3, 30))
    assert [status.settlement for status in statuses(said.events)] == [None]


AMOUNTS = st.decimals("0", "999999999", places=9).map(lambda amount: format(amount, "f"))
QUOTES = st.none() | st.builds(
    Quoted,
    quote_id=st.just("q-1"),
    tokens=st.integers(0, 10**15),
    amount=st.none() | AMOUNTS,
    currency=st.just("CNY"),
    price_per_1k_tokens=AMOUNTS,
)


@given(
    st.sampled_from([Phase.COMPLETED, Phase.FAILED, Phase.TERMINATED]),
    st.sampled_from([None, "user", "platform", "unknown"]),
    QUOTES,
    st.builds(Trained, steps=st.integers(0, 10**6), tokens=st.integers(0, 10**15)),
)
def test_a_bill_is_exact_never_negative_and_never_above_a_complete_quote(
    phase: Phase, party: Any, quote: Quoted | None, trained: Trained
) -> None:
    due = settle(phase, party, quote, trained)
    assert due.amount is not None
    amount = Fraction(due.amount)
    assert amount >= 0
    if quote and quote.amount:
        assert amount <= Fraction(quote.amount)
        if phase is Phase.COMPLETED:
            assert due.amount == quote.amount
    if quote and quote.price_per_1k_tokens and due.basis == "trained":
        exact = Fraction(trained.tokens) * Fraction(quote.price_per_1k_tokens) / 1000
        assert amount == (min(exact, Fraction(quote.amount)) if quote.amount else exact)
    assert "E" not in due.amount
    assert Decimal(due.amount) == amount
