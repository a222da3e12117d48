"""Models expire, and refs keep them, on every bucket: both are decided by its conditional puts alone."""

import asyncio
from contextlib import suppress
from typing import Any, cast

from handlers import layout, model_refs
from handlers.model_refs import CannotTag
from handlers.ports.store import ObjectStore
from tests.fakes.retained import DAY, DAYS, Retained
from tests.fakes.world import World
from worker.models import refs
from worker.settings import Settings


def retained_in(store: ObjectStore) -> Retained:
    return Retained(World(cast("Any", store)))


async def files_of(store: ObjectStore, model_id: str) -> list[str]:
    prefix = layout.model(model_id)
    return sorted([info.key.removeprefix(prefix) async for info in store.list(prefix)])


async def test_a_model_goes_and_one_that_a_ref_names_stays_until_none_does(store: ObjectStore) -> None:
    retained = retained_in(store)
    unnamed, named = [await retained.exported(task_id) for task_id in ("t-1", "t-2")]
    whole = await files_of(store, named)
    tagged = await model_refs.tag(store, "production", named)

    await retained.sweep(times=2, after_days=DAYS)
    assert await files_of(store, unnamed) == ["manifest.json"]
    assert await files_of(store, named) == whole
    assert [said.model_id for said in retained.said()] == [unnamed]

    await model_refs.untag(store, tagged.name)
    await retained.sweep(times=2)
    assert await files_of(store, named) == ["manifest.json"]
    assert [said.model_id for said in retained.said()] == [unnamed, named]


async def test_of_racing_sweeps_and_refs_each_model_goes_once_or_has_its_name(store: ObjectStore) -> None:
    retained = retained_in(store)
    models = [await retained.exported(f"t-{number}") for number in range(8)]
    whole = await files_of(store, models[0])
    await retained.sweep(after_days=DAYS - 0.001)

    async def tagged(model_id: str) -> None:
        with suppress(CannotTag):
            await model_refs.tag(store, model_id, model_id)

    await retained.world.clock.advance(DAY)
    await asyncio.gather(retained.sweeper.sweep(), retained.another().sweep(), *map(tagged, models))
    await retained.sweep(times=2)

    named = set((await model_refs.all_refs(store)).values())
    assert {model_id for model_id in models if await files_of(store, model_id) == whole} == named
    gone = sorted(set(models) - named)
    assert [await files_of(store, model_id) for model_id in gone] == [["manifest.json"]] * len(gone)
    assert sorted(said.model_id for said in retained.said()) == gone


async def test_the_command_line_reads_the_refs_that_are_there(settings: Settings, real_store: ObjectStore) -> None:
    assert await refs.all_refs(settings) == {}
    model_id = await retained_in(real_store).exported()
    await model_refs.tag(real_store, "production", model_id)
    await model_refs.tag(real_store, "former", model_id)
    await model_refs.untag(real_store, "refs/default/former")
    assert await refs.all_refs(settings) == {"refs/default/production": model_id}
    assert await refs.resolved("refs/default/production", settings) == model_id
