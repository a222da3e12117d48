"""A fee whose tokens are not counted yet: an interval when it is due, the exact quote as a later revision."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.quote import CostEstimated
from handlers.outcome import Outcome
from handlers.ports.tokens import TokenRange, Unsampled
from tests.fakes.dispatch import refusal
from tests.fakes.estimation import raises, verdict_on
from tests.fakes.faults import faulty_world, survives
from tests.fakes.samples import Line
from tests.fakes.tokens import RowCounter
from tests.fakes.world import TINY, World, bodies, form, form_event, ids, received
from worker.catalog import load_catalog

#: The fake counter finds 30 tokens; prices are 0.03 a thousand, for two epochs.
RANGE = TokenRange(total=(20, 50), total_of_extremes=(7, 9), sampled=2)


def large(world: World) -> World:
    world.sampler.range = RANGE
    return world


def settable(world: World) -> None:
    """Let everything be set that the shipped catalogue lets be set."""
    shipped = load_catalog().model("tiny", "1")
    assert shipped is not None
    world.catalog.entries = [replace(TINY, training_types=shipped.training_types)]


def said_in(outcome: Outcome) -> CostEstimated:
    (event,) = outcome.events
    body = received(event).data
    assert isinstance(body, CostEstimated)
    return body


async def sampled(world: World, **changes: Any) -> tuple[Event[Any], CostEstimated]:
    outcome = await world.deliver("cost-estimation", await verdict_on(world, **changes))
    return received(outcome.events[0]), said_in(outcome)


async def test_while_tokens_are_counted_there_is_an_interval_and_no_amount() -> None:
    _, said = await sampled(large(World()))
    quote = said.quote
    assert (quote.complete, quote.amount, quote.billed_tokens, quote.items) == (False, None, 0, ())
    assert quote.missing == ("dataset d-1: its tokens are still being counted",)
    assert quote.interval is not None
    assert (quote.interval.low, quote.interval.high) == ("0.0012", "0.003")
    assert (quote.interval.low_tokens, quote.interval.high_tokens, quote.interval.sampled) == (40, 100, 2)
    assert quote.interval.confidence == "0.99"


async def test_the_exact_quote_follows_as_a_later_revision() -> None:
    world = large(World())
    event, said = await sampled(world)
    exact = said_in(await world.deliver("exact-estimation", event))
    assert (exact.quote.complete, exact.quote.amount, exact.quote.interval) == (True, "0.0018", None)
    assert (said.revision, exact.revision) == (1, 2)
    assert exact.quote.valid_until is not None
    assert (exact.task_id, exact.dataset_ids, exact.project) == (said.task_id, said.dataset_ids, said.project)


async def test_the_exact_quote_is_the_one_that_would_have_been_made_at_once() -> None:
    world, other = large(World()), World()
    event, _ = await sampled(world)
    exact = said_in(await world.deliver("exact-estimation", event))
    assert exact.quote == said_in(await other.deliver("cost-estimation", await verdict_on(other))).quote
    await world.run(form_event(quote_id=exact.quote.quote_id))
    assert len(world.submitted) == 1


async def test_duplicates_in_any_order_say_the_same_and_the_exact_one_once_it_is_there() -> None:
    world = large(World())
    verdict = await verdict_on(world)
    first = await world.deliver("cost-estimation", verdict)
    again = await world.deliver("cost-estimation", verdict)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))
    event = received(first.events[0])
    exact = await world.deliver("exact-estimation", event)
    for stage, each in (("exact-estimation", event), ("cost-estimation", verdict)) * 2:
        later = await world.deliver(stage, each)
        assert (ids(later.events), bodies(later.events)) == (ids(exact.events), bodies(exact.events))


async def test_an_exact_estimate_needs_no_counting() -> None:
    world = World()
    event, said = await sampled(world)
    world.ports["tokens"] = raises(AssertionError("nothing is to be counted"))
    assert (await world.deliver("exact-estimation", event)).name == "nothing-to-count"
    assert said.revision == 1


async def test_a_newer_estimate_supersedes_what_is_still_counted() -> None:
    world = large(World())
    old, _ = await sampled(world, imported_at="2026-01-01T00:00:01Z")
    new, newer = await sampled(world, imported_at="2026-01-01T00:00:02Z", draft=form(hyperparameters={"epochs": 3}))
    assert (await world.deliver("exact-estimation", old)) == Outcome(name="superseded")
    exact = said_in(await world.deliver("exact-estimation", new))
    assert (newer.revision, exact.revision) == (2, 3)
    assert exact.quote.items[0].epochs == 3


async def test_one_that_comes_while_it_is_counted_supersedes_too() -> None:
    world = large(World())
    old, _ = await sampled(world, imported_at="2026-01-01T00:00:01Z")
    count = world.tokens.count

    class Slow:
        async def count(self, *given: Any) -> Any:
            world.ports["tokens"] = world.tokens
            await sampled(world, imported_at="2026-01-01T00:00:02Z", draft=form(hyperparameters={"epochs": 3}))
            return await count(*given)

    world.ports["tokens"] = Slow()
    assert (await world.deliver("exact-estimation", old)).name == "superseded"


async def test_the_same_import_once_more_is_still_made_exact() -> None:
    world = large(World())
    event, _ = await sampled(world, imported_at="2026-01-01T00:00:01Z")
    again, _ = await sampled(world, imported_at="2026-01-01T00:00:02Z")
    assert again.id == event.id
    assert said_in(await world.deliver("exact-estimation", again)).quote.complete


async def test_what_cannot_be_counted_after_all_says_why_and_the_next_delivery_may_do_better() -> None:
    world = large(World())
    event, _ = await sampled(world)
    world.ports["tokens"] = raises(ValueError("the template refuses line 7"))
    refused = said_in(await world.deliver("exact-estimation", event))
    assert (refused.quote.complete, refused.quote.interval, refused.revision) == (False, None, 2)
    assert "the template refuses line 7" in refused.quote.missing[0]
    world.ports["tokens"] = world.tokens
    exact = said_in(await world.deliver("exact-estimation", event))
    assert (exact.quote.complete, exact.revision) == (True, 3)


@pytest.mark.parametrize(
    "changes",
    [{"training_set": [{"dataset_id": "d-1"}, {"dataset_id": "d-2"}]}, {"base_model": None}, {"training_type": None}],
)
async def test_where_something_else_is_missing_too_there_is_no_interval(changes: dict[str, Any]) -> None:
    _, said = await sampled(large(World()), draft=form(**changes))
    assert said.quote.interval is None
    assert not said.quote.complete
    assert not said.quote.counting


@pytest.mark.parametrize(
    ("changes", "tokens"),
    [
        ({"validation": {"percent": 40}, "hyperparameters": {"epochs": 3}}, 60),
        ({"training_set": [{"dataset_id": "d-1", "sample_count": 1}], "hyperparameters": {"epochs": 3}}, 30),
        ({"hyperparameters": {"max_steps": 1, "batch_size": 2}}, 20),
    ],
)
async def test_a_fee_that_depends_on_single_samples_has_no_interval_and_is_exact_later(
    changes: dict[str, Any], tokens: int
) -> None:
    world = large(World())
    settable(world)
    world.ports["tokens"] = RowCounter(world.store, {"d-1": [Line(n) for n in range(3)]})
    event, said = await sampled(world, draft=form(**changes))
    assert (said.quote.complete, said.quote.interval, said.quote.counting) == (False, None, True)
    assert said.quote.missing == ("dataset d-1: its tokens are still being counted",)
    exact = said_in(await world.deliver("exact-estimation", event))
    assert (exact.quote.complete, exact.quote.counting, exact.revision) == (True, False, 2)
    assert exact.quote.billed_tokens == tokens


async def test_what_cannot_be_sampled_is_still_being_counted_and_exact_later() -> None:
    world = World()
    world.sampler.range = Unsampled()
    verdict = await verdict_on(world)
    world.ports["tokens"] = raises(AssertionError("nothing is to be counted before something is said"))
    first = await world.deliver("cost-estimation", verdict)
    said = said_in(first)
    assert (said.quote.complete, said.quote.interval, said.quote.counting) == (False, None, True)
    assert said.quote.missing == ("dataset d-1: its tokens are still being counted",)
    world.ports["tokens"] = world.tokens
    exact = said_in(await world.deliver("exact-estimation", received(first.events[0])))
    assert (exact.quote.amount, exact.revision) == ("0.0018", 2)


async def test_an_interval_is_that_of_the_steps_where_they_are_whole_epochs() -> None:
    world = large(World())
    settable(world)
    _, said = await sampled(world, draft=form(hyperparameters={"max_steps": 15, "batch_size": 1}))
    assert said.quote.interval is not None
    assert (said.quote.interval.low_tokens, said.quote.interval.high_tokens) == (5 * 20, 5 * 50)


async def test_an_import_for_no_task_has_revisions_of_its_own() -> None:
    world = large(World())
    event, said = await sampled(world, draft=form() | {"task_id": None})
    exact = await world.deliver("exact-estimation", event)
    assert (said.task_id, said.revision, said_in(exact).revision) == (None, 1, 2)
    assert exact.events[0].key == "d-1"


async def test_an_interval_cannot_be_cited() -> None:
    world = large(World())
    _, said = await sampled(world)
    status = await refusal(world, form_event(quote_id=said.quote.quote_id))
    assert status.reason == "quote-incomplete"
    assert "still being counted" in status.message


async def test_other_prices_are_another_estimate_of_a_higher_revision() -> None:
    world = large(World())
    verdict = await verdict_on(world)
    first = said_in(await world.deliver("cost-estimation", verdict))
    world.catalog.prices["LoRA"] = "0.04"
    second = said_in(await world.deliver("cost-estimation", verdict))
    assert second.quote.quote_id != first.quote.quote_id
    assert (first.revision, second.revision) == (1, 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("stage", ["cost-estimation", "exact-estimation"])
async def test_killed_at_any_call_the_same_is_said_under_the_same_revision(stage: str, *, after: bool) -> None:
    async def ready() -> tuple[World, Any, Event[Any]]:
        world, faults = faulty_world()
        event = await verdict_on(large(world))
        if stage == "exact-estimation":
            event = received((await world.deliver("cost-estimation", event)).events[0])
        return world, faults, event

    world, faults, event = await ready()
    already = len(faults.calls)
    baseline = await world.deliver(stage, event)
    for at in range(len(faults.calls) - already):
        world, faults, event = await ready()
        outcome = await survives(faults, at, after=after, deliver=partial(world.deliver, stage, event))
        assert (ids(outcome.events), bodies(outcome.events)) == (ids(baseline.events), bodies(baseline.events))


async def test_a_quote_nobody_kept_is_no_error() -> None:
    world = large(World())
    event, said = await sampled(world)
    unknown = replace(event, data=replace(said, quote=replace(said.quote, quote_id="q-other")))
    assert (await world.deliver("exact-estimation", unknown)) == Outcome(name="unknown-quote")
