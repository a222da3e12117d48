"""One estimate an import: whatever comes twice, crosses, or is killed half way."""

from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from contracts.hyperparameters import HyperparameterRule
from handlers.errors import Unavailable
from tests.fakes.estimation import LINES, estimate, raises, verdict_on
from tests.fakes.faults import faulty_world, survives
from tests.fakes.world import TINY, World, bodies, form, ids

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


async def test_an_import_for_another_task_supersedes_nothing() -> None:
    world = World()
    older = await verdict_on(world, imported_at="2026-01-01T00:00:01Z")
    await verdict_on(world, "d-2", draft=form("t-2", "d-2"), imported_at="2026-01-01T00:00:02Z")
    assert (await estimate(world, older)).quote.complete


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
