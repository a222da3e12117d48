"""One estimate an import: whatever comes twice, crosses, or is killed half way."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.hyperparameters import HyperparameterRule, resolve
from handlers import draft_price, layout
from handlers.errors import Unavailable
from handlers.outcome import Outcome
from handlers.ports.tokens import TokenRange
from handlers.pricing import FEE_HYPERPARAMETERS
from tests.fakes.estimation import LINES, estimate, raises, verdict_on
from tests.fakes.faults import faulty_world, survives
from tests.fakes.world import TINY, World, bodies, form, form_event, ids, received
from worker.catalog import load_catalog

# --- once ----------------------------------------------------------------------------------------------------


async def test_the_same_draft_twice_is_one_estimate_however_long_after() -> None:
    world = World()
    verdict = await verdict_on(world)
    first = await world.deliver("cost-estimation", verdict)
    await world.clock.advance(timedelta(days=900).total_seconds())
    again = await world.deliver("cost-estimation", verdict)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))
    assert again.events[0].time == first.events[0].time


async def test_two_datasets_of_one_task_that_cross_are_one_estimate_under_one_id() -> None:
    world = World()
    draft = form("t-1", "d-1", "d-2")
    at = "2026-01-01T00:00:00Z"
    verdicts = [await verdict_on(world, name, draft=draft, imported_at=at) for name in ("d-1", "d-2")]
    said = [(await world.deliver("cost-estimation", verdict)).events for verdict in verdicts]
    assert bodies(said[0]) == bodies(said[1])
    assert ids(said[0]) == ids(said[1])


async def test_of_several_imports_of_a_task_only_the_newest_is_priced() -> None:
    world = World()
    draft = form("t-1", "d-1", "d-2")
    older = await verdict_on(world, "d-1", draft=draft, imported_at="2026-01-01T00:00:01Z")
    newer = await verdict_on(world, "d-2", draft=draft, imported_at="2026-01-01T00:00:02Z")
    superseded = await world.deliver("cost-estimation", older)
    assert (superseded.name, superseded.events) == ("superseded", ())
    assert (await estimate(world, newer)).quote.complete


async def test_a_newer_import_supersedes_while_it_is_still_being_validated() -> None:
    world = World()
    older = await verdict_on(world, imported_at="2026-01-01T00:00:01Z")
    imported = await world.import_dataset("d-2", LINES, draft=form(), imported_at="2026-01-01T00:00:02Z")
    world.ports["scanner"] = raises(Unavailable("in the middle of the scan"))
    with pytest.raises(Unavailable):
        await world.deliver("dataset-validation", imported)
    assert (await world.deliver("cost-estimation", older)).name == "superseded"


async def test_a_dataset_that_the_newest_estimate_waits_for_brings_its_fee() -> None:
    """A large dataset is imported first and validated last; the draft came with the small one."""
    world = World()
    draft = form("t-1", "d-1", "d-2")
    imported = await world.import_dataset("d-1", LINES, draft=form("t-1", "d-1"), imported_at="2026-01-01T00:00:01Z")
    newer = await verdict_on(world, "d-2", draft=draft, imported_at="2026-01-01T00:00:02Z")
    first = await estimate(world, newer)
    assert first.quote.missing == ("dataset d-1: not validated yet",)
    (older,) = (await world.deliver("dataset-validation", imported)).events
    second = await estimate(world, received(older))
    assert (second.revision, second.quote.complete, second.dataset_ids) == (2, True, ("d-1", "d-2"))
    assert [(await world.deliver("cost-estimation", each)).name for each in (received(older), newer)] == [
        "superseded",
        "estimated",
    ]


async def test_a_report_that_comes_during_an_estimate_is_not_waited_for_in_vain() -> None:
    world = World()
    draft = form("t-1", "d-1", "d-2")
    imported = await world.import_dataset("d-1", LINES, draft=form("t-1", "d-1"), imported_at="2026-01-01T00:00:01Z")
    newer = await verdict_on(world, "d-2", draft=draft, imported_at="2026-01-01T00:00:02Z")
    put, older = world.store.put, list[Event[Any]]()

    async def put_late(key: str, *given: Any, **named: Any) -> str:
        if key == layout.estimate("t-1", "d-2") and not older:
            (verdict,) = (await world.deliver("dataset-validation", imported)).events
            older.append(received(verdict))
            assert (await world.deliver("cost-estimation", older[0])).name == "superseded"
        return await put(key, *given, **named)

    world.store.put = put_late  # type: ignore[method-assign]
    assert (await estimate(world, newer)).quote.complete


async def test_an_import_for_another_task_supersedes_nothing() -> None:
    world = World()
    older = await verdict_on(world, imported_at="2026-01-01T00:00:01Z")
    await verdict_on(world, "d-2", draft=form("t-2", "d-2"), imported_at="2026-01-01T00:00:02Z")
    assert (await estimate(world, older)).quote.complete


async def said_of(world: World, second: int, dataset_id: str = "d-1", **changes: Any) -> Event[Any]:
    """Return the verdict on an import of that second, with another draft."""
    return await verdict_on(world, dataset_id, draft=form(**changes), imported_at=f"2026-01-01T00:00:0{second}Z")


def revision_of(outcome: Outcome) -> tuple[int, int]:
    """Return the revision that was said, and how many epochs it is about."""
    (said,) = outcome.events
    return received(said).data.revision, received(said).data.quote.items[0].epochs


async def test_going_back_to_an_earlier_draft_is_a_later_revision_and_a_replay_says_it_again() -> None:
    world = World()
    first, events = [], []
    for second, epochs in enumerate((2, 3, 2)):
        events.append(await said_of(world, second, hyperparameters={"epochs": epochs}))
        first.append(await world.deliver("cost-estimation", events[-1]))
    assert [revision_of(each) for each in first] == [(1, 2), (2, 3), (3, 2)]
    assert len({ids(each.events)[0] for each in first}) == 3
    replayed = [await world.deliver("cost-estimation", each) for each in events]
    assert [each.name for each in replayed] == ["superseded", "superseded", "estimated"]
    assert (ids(replayed[-1].events), bodies(replayed[-1].events)) == (ids(first[-1].events), bodies(first[-1].events))


async def test_what_is_missing_again_after_something_else_was_is_a_later_revision() -> None:
    world = World()
    verdict = await verdict_on(world)
    said = []
    for why in ("no tokenizer", "no template", "no tokenizer"):
        world.ports["tokens"] = raises(LookupError(why))
        said.append(await estimate(world, verdict))
    assert [each.revision for each in said] == [1, 2, 3]
    assert said[0].quote == said[2].quote


async def test_an_older_import_that_takes_longer_supersedes_nothing() -> None:
    world = World()
    older = await said_of(world, 1, hyperparameters={"epochs": 3})
    count, newer = world.tokens.count, list[Outcome]()

    class Slow:
        async def count(self, *given: Any) -> Any:
            world.ports["tokens"] = world.tokens
            verdict = await said_of(world, 2, "d-2", training_set=[{"dataset_id": "d-1"}, {"dataset_id": "d-2"}])
            newer.append(await world.deliver("cost-estimation", verdict))
            return await count(*given)

    world.ports["tokens"] = Slow()
    assert await world.deliver("cost-estimation", older) == Outcome(name="superseded")
    assert revision_of(newer[0]) == (1, 2)


async def test_of_two_drafts_imported_at_one_instant_the_same_one_holds_in_any_order() -> None:
    said = []
    for order in ((2, 3), (3, 2)):
        world = World()
        verdicts = [await said_of(world, 1, hyperparameters={"epochs": epochs}) for epochs in order]
        outcomes = [await world.deliver("cost-estimation", each) for each in verdicts * 2]
        said.append([each for each in outcomes if each.events][-1])
        assert len({ids(each.events)[0] for each in outcomes[2:] if each.events}) == 1
    assert revision_of(said[0])[1] == revision_of(said[1])[1]


async def test_new_prices_rules_or_verdicts_are_anotherestimate() -> None:
    world = World()
    verdict = await verdict_on(world)
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


async def test_what_the_fee_does_not_depend_on_makes_no_other_estimate() -> None:
    world = World()
    verdict = await verdict_on(world)
    first = await world.deliver("cost-estimation", verdict)
    rate = {"learning_rate": HyperparameterRule(type="float", default=0.1)}
    rules = {training_type: rules | rate for training_type, rules in TINY.training_types.items()}
    world.catalog.entries[0] = replace(TINY, function_calling=True, thinking=True, training_types=rules)
    again = await world.deliver("cost-estimation", verdict)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))


@pytest.mark.parametrize("sampled", [False, True])
async def test_once_the_task_is_dispatched_a_replay_says_what_was_said_whatever_it_costs_now(*, sampled: bool) -> None:
    world = World()
    world.sampler.range = TokenRange(total=(20, 50), total_of_extremes=(7, 9), sampled=2) if sampled else None
    verdict = await verdict_on(world)
    first = last = await world.deliver("cost-estimation", verdict)
    if sampled:
        last = await world.deliver("exact-estimation", received(first.events[0]))
    await world.deliver("training-dispatch", form_event())
    assert len(world.submitted) == 1
    newest = world.store.objects[layout.estimate("t-1", "d-1")]
    world.catalog.prices["LoRA"] = "9"
    for stage, event in (("cost-estimation", verdict), ("exact-estimation", received(first.events[0]))):
        again = await world.deliver(stage, event)
        if sampled or stage == "cost-estimation":
            assert (ids(again.events), bodies(again.events)) == (ids(last.events), bodies(last.events))
    later = await said_of(world, 9, "d-2", hyperparameters={"epochs": 3})
    assert await world.deliver("cost-estimation", later) == Outcome(name="decided")
    assert world.store.objects[layout.estimate("t-1", "d-1")] == newest


async def test_a_task_that_was_dispatched_before_its_fee_was_due_still_gets_one() -> None:
    world = World()
    verdict = await verdict_on(world)
    await world.deliver("training-dispatch", form_event())
    assert (await estimate(world, verdict)).quote.complete


async def test_every_hyperparameter_that_pricing_reads_is_one_that_fees_depend_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = set[str]()

    class Reading(dict[str, Any]):
        def get(self, name: str, *default: Any) -> Any:
            read.add(name)
            return super().get(name, *default)

        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    monkeypatch.setattr(draft_price, "resolve", lambda *given: (Reading(resolve(*given)[0]), ()))
    world = World()
    world.ports["catalog"] = load_catalog()
    for scanned, training_type in (("sft", "FinetuneSft"), ("preference", "DPO"), ("pretrain", "Pretrain")):
        world.scanner.format = scanned  # type: ignore[assignment]
        draft = form(training_type, training_type=training_type, hyperparameters={"max_steps": 3})
        await world.deliver("cost-estimation", await verdict_on(world, draft=draft))
    assert read == set(FEE_HYPERPARAMETERS)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_the_same_estimate_is_said(*, after: bool) -> None:
    world, faults = faulty_world()
    verdict = await verdict_on(world)
    already = len(faults.calls)
    baseline = await world.deliver("cost-estimation", verdict)
    for at in range(len(faults.calls) - already):
        world, faults = faulty_world()
        verdict = await verdict_on(world)
        outcome = await survives(faults, at, after=after, deliver=partial(world.deliver, "cost-estimation", verdict))
        assert (ids(outcome.events), bodies(outcome.events)) == (ids(baseline.events), bodies(baseline.events))
        assert len(world.keys("receipts/cost-estimation/")) == 1
