"""A quote that a task cites: honoured while data, form and price are its own, and refused with what has changed."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.quote import Quote
from handlers import layout
from handlers.quotes import KeptQuote
from tests.fakes.dispatch import refusal
from tests.fakes.estimation import estimate, raises, verdict_on
from tests.fakes.world import World, form, form_event, received

#: What the world's quotes are valid for.
VALID = timedelta(hours=1)


async def quoted(world: World, **draft: Any) -> Quote:
    """Import the dataset of a draft; return the quote the user sees."""
    return (await estimate(world, await verdict_on(world, draft=form(**draft)))).quote


def submitted(after: timedelta = timedelta(0), task_id: str = "t-1", **changes: Any) -> Event[Any]:
    """Return a form submitted so long after its quote."""
    sent = form_event(task_id, **changes)
    return replace(sent, time=sent.time + after)


async def dispatched_under(world: World, sent: Event[Any]) -> str:
    said = await world.deliver("training-dispatch", sent)
    (dispatched,) = [received(each).data for each in said.events if each.topic == "training.dispatched"]
    quote_id: str = dispatched.quote_id
    return quote_id


def kept(world: World, quote_id: str) -> KeptQuote:
    return msgspec.json.decode(world.store.objects[layout.quote(quote_id)], type=KeptQuote)


async def test_the_quote_a_user_saw_is_the_one_the_task_is_dispatched_under_cited_or_not() -> None:
    world = World()
    quote = await quoted(world)
    assert quote.complete
    assert await dispatched_under(world, submitted(quote_id=quote.quote_id)) == quote.quote_id
    other = World()
    assert await quoted(other) == quote
    assert await dispatched_under(other, submitted()) == quote.quote_id


async def test_a_quote_is_kept_as_it_was_said_and_its_time_never_begins_anew() -> None:
    world = World()
    verdict = await verdict_on(world)
    quote = (await estimate(world, verdict)).quote
    assert quote.valid_until == world.clock.now() + VALID
    await world.clock.advance(timedelta(days=900).total_seconds())
    for receipt in world.keys("receipts/cost-estimation/"):
        del world.store.objects[receipt]
    assert (await estimate(world, verdict)).quote == quote == kept(world, quote.quote_id).quote


async def test_another_task_s_quote_for_the_same_has_a_time_of_its_own() -> None:
    world = World()
    first = await quoted(world)
    await world.clock.advance(10)
    second = await quoted(world, task_id="t-2")
    assert second.quote_id != first.quote_id
    assert second.valid_until == world.clock.now() + VALID


@pytest.mark.parametrize("after", [timedelta(0), VALID])
async def test_a_valid_quote_freezes_its_price_also_for_the_limit_on_the_fee(after: timedelta) -> None:
    world = World()
    quote = await quoted(world)
    world.catalog.prices["LoRA"] = "9"
    # However late the worker comes to it: what counts is when the user submitted.
    await world.clock.advance(timedelta(days=9).total_seconds())
    limit = {"amount": quote.amount, "currency": quote.currency}
    sent = submitted(after, quote_id=quote.quote_id, max_cost=limit)
    assert await dispatched_under(world, sent) == quote.quote_id


async def test_once_it_is_not_valid_another_price_refuses_and_the_same_does_not() -> None:
    world = World()
    quote = await quoted(world)
    late = VALID + timedelta(seconds=1)
    world.catalog.prices["LoRA"] = "0.04"
    status = await refusal(world, submitted(late, quote_id=quote.quote_id))
    assert (status.reason, status.party) == ("quote-expired", "user")
    assert "0.04 CNY per 1,000 tokens, was 0.03 CNY" in status.message
    world.catalog.prices["LoRA"] = "0.03"
    unaddressed = await quoted(world, task_id=None)
    sent = submitted(late, "t-2", quote_id=unaddressed.quote_id)
    assert await dispatched_under(world, sent) == unaddressed.quote_id


async def test_a_price_that_is_only_spelt_otherwise_is_the_same_price_and_makes_the_same_quote() -> None:
    world, other = World(), World()
    quote = await quoted(world)
    other.catalog.prices["LoRA"] = "0.0300"
    assert (await quoted(other)).quote_id == quote.quote_id
    spelt = replace(kept(world, quote.quote_id), quote=replace(quote, price_per_1k_tokens="0.03000"))
    world.store.objects[layout.quote(quote.quote_id)] = msgspec.json.encode(spelt)
    late = VALID + timedelta(seconds=1)
    assert await dispatched_under(world, submitted(late, quote_id=quote.quote_id)) == quote.quote_id


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hyperparameters": {"epochs": 3}}, "user dataset d-1 has epochs 3, was 2"),
        ({"training_set": [{"dataset_id": "d-1", "multiplier": 2}]}, "user dataset d-1 has samples 6, was 3"),
        ({"training_type": "FinetuneSft"}, "method full, was LoRA"),
    ],
)
async def test_a_form_that_is_not_the_quoted_one_is_refused_with_what_changed(
    changes: dict[str, Any], named: str
) -> None:
    world = World()
    quote = await quoted(world)
    status = await refusal(world, submitted(quote_id=quote.quote_id, **changes))
    assert (status.reason, status.party) == ("quote-changed", "user")
    assert named in status.message


async def test_datasets_that_came_or_went_are_named() -> None:
    world = World()
    quote = await quoted(world)
    await verdict_on(world, "d-2", draft=None)
    changed = [{"dataset_id": "d-2"}]
    status = await refusal(world, submitted(quote_id=quote.quote_id, training_set=changed))
    assert "user dataset d-1 is gone; user dataset d-2 was not in it" in status.message


async def test_other_bytes_are_another_dataset_though_they_cost_the_same() -> None:
    world = World()
    quote = await quoted(world)
    held = msgspec.json.decode(world.store.objects[layout.dataset_current("d-1")])
    held["files"][0]["sha256"] = "cd" * 32
    world.store.objects[layout.dataset_current("d-1")] = msgspec.json.encode(held)
    status = await refusal(world, submitted(quote_id=quote.quote_id))
    assert "user dataset d-1 has other content" in status.message


async def test_what_cannot_be_cited_is_said() -> None:
    world = World()
    quote = await quoted(world)
    incomplete = await quoted(world, task_id="t-2", base_model=None)
    for sent, reason in (
        (submitted(quote_id="q-none"), "quote-unknown"),
        (submitted(task_id="t-9", quote_id=quote.quote_id), "quote-of-another-task"),
        (submitted(task_id="t-2", quote_id=incomplete.quote_id), "quote-incomplete"),
        (submitted(task_id="t-3", project="other", quote_id=quote.quote_id), "quote-of-another-task"),
    ):
        status = await refusal(world, sent)
        assert (status.reason, status.party) == (reason, "user")


async def test_a_cited_quote_does_not_hold_while_the_fee_cannot_be_known() -> None:
    world = World()
    quote = await quoted(world)
    world.ports["tokens"] = raises(LookupError("no tokenizer"))
    status = await refusal(world, submitted(quote_id=quote.quote_id))
    assert (status.reason, status.party) == ("cost-unknown", "platform")
    assert "no tokenizer" in status.message
