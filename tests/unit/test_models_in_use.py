"""What is used stays: a task's base, what an adapter is on, what a ref names; and what expired is not used any more."""

from typing import Any

import pytest

from contracts.task import Phase
from handlers import layout, model_refs
from handlers.model_refs import CannotTag
from tests.fakes.faults import faulty_world, survives
from tests.fakes.retained import DAYS, Retained, on
from tests.fakes.world import World, command_event, form_event, statuses

KILLED = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


async def test_the_base_of_a_task_stays_until_it_ends_and_that_of_an_adapter_until_the_adapter_goes() -> None:
    retained = Retained()
    first = await retained.exported("t-1")
    await retained.began("t-2", **on(first))
    await retained.sweep(times=3, after_days=DAYS)
    assert retained.manifest(first).expiry is None
    second = await retained.succeeded("t-2")
    await retained.sweep(times=3)
    assert retained.manifest(first).expiry is None, "the second model is an adapter on it"
    await retained.sweep(times=5, after_days=DAYS)
    assert [said.model_id for said in retained.said()] == [second, first]


async def test_a_task_that_waits_for_its_dataset_uses_its_base_too() -> None:
    retained = Retained()
    model_id = await retained.exported()
    await retained.world.run(form_event("t-2", "unknown", **on(model_id)))
    assert (await retained.world.state("t-2")).phase is Phase.PREPROCESSING
    await retained.sweep(times=3, after_days=DAYS)
    assert retained.manifest(model_id).expiry is None


async def test_a_model_that_a_ref_names_stays_until_none_does() -> None:
    retained = Retained()
    model_id = await retained.exported()
    store = retained.world.store
    await model_refs.tag(store, "production", model_id)
    await retained.sweep(times=3, after_days=DAYS)
    assert retained.manifest(model_id).expiry is None
    await model_refs.untag(store, "refs/default/production")
    await retained.sweep(times=2)
    assert retained.files(model_id) == ["manifest.json"]


async def test_an_expired_model_is_no_base_gets_no_name_and_is_not_exported_again() -> None:
    retained = Retained()
    world = retained.world
    model_id = await retained.exported("t-1", 10, 20)
    kept = next(key.split("/")[1] for key in world.keys("models/") if model_id not in key)
    await model_refs.tag(world.store, "production", kept)
    await retained.sweep(times=2, after_days=DAYS)

    (refused,) = statuses(await world.run(form_event("t-2", "d-1", **on(model_id))))
    assert refused.phase is Phase.FAILED
    assert "expired on 2026-01-31, 30 days after its export" in refused.faults[0].message
    with pytest.raises(CannotTag, match="expired on"):
        await model_refs.tag(world.store, "other", model_id)

    await world.store.delete(layout.model(kept) + "adapter_config.json")
    answer, _ = statuses(await world.run(command_event("export")))
    assert (answer.reason, answer.message.startswith(f"{model_id} expired on")) == ("export-impossible", True)
    assert retained.files(model_id) == ["manifest.json"]
    assert "adapter_config.json" in retained.files(kept), "the other model is made whole all the same"


@KILLED
async def test_a_tag_that_is_killed_at_any_call_is_given_by_the_next_try(*, after: bool) -> None:
    for at in range(6):
        world, faults = faulty_world()
        retained = Retained(world, faults)
        first = await retained.exported("t-1")
        second = await retained.exported("t-2")
        await model_refs.tag(world.store, "production", first)

        def again(world: World = world, second: str = second) -> Any:
            return model_refs.tag(world.store, "production", second)

        tagged = await survives(faults, at, after=after, deliver=again)
        assert tagged.before in (first, second)
        assert await model_refs.all_refs(world.store) == {"refs/default/production": second}
