"""Sweeps cross each other, and whoever begins to use a model: in every order one gives way to the other."""

import asyncio
from contextlib import suppress
from typing import Any

from contracts.codec import encode
from contracts.model import Expiry
from contracts.task import Phase
from handlers import layout, model_refs, retention
from handlers.model_refs import CannotTag
from tests.fakes.retained import DAY, DAYS, Retained, on
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.world import World, form_event


def one_too_old() -> tuple[Retained, str]:
    """Return a world with a model whose time is over, and the model's id."""
    retained = Retained()
    model_id = asyncio.run(retained.exported())
    asyncio.run(retained.world.clock.advance(DAYS * DAY))
    return retained, model_id


def test_a_task_that_crosses_the_sweeps_is_refused_or_has_its_base() -> None:
    def refused_or_whole(retained: Retained, model_id: str) -> Phase:
        asyncio.run(retained.sweep(times=2))
        phase = asyncio.run(retained.world.state("t-2")).phase
        assert (phase is Phase.FAILED) == (retained.files(model_id) == ["manifest.json"])
        return phase

    def dispatch(retained: Retained, model_id: str) -> Any:
        return retained.world.deliver("training-dispatch", form_event("t-2", "d-1", **on(model_id)))

    retained, model_id = one_too_old()
    ends = set()
    for order in preempted(steps_of(dispatch(retained, model_id))):
        retained, model_id = one_too_old()
        interleave(dispatch(retained, model_id), retained.sweep(times=3), order=order)
        ends.add(refused_or_whole(retained, model_id))
    assert ends == {Phase.FAILED, Phase.QUEUED}

    retained, model_id = one_too_old()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = one_too_old()
        interleave(retained.sweep(times=2), dispatch(retained, model_id), order=order)
        refused_or_whole(retained, model_id)


def test_a_task_that_ends_during_a_sweep_has_left_the_adapter_that_needs_its_base() -> None:
    def begin() -> tuple[Retained, str]:
        retained = Retained()
        model_id = asyncio.run(retained.exported())
        asyncio.run(retained.began("t-2", **on(model_id)))
        now = retained.world.clock.now()
        mark = Expiry(at=now, exported_at=now, retention_days=DAYS)
        asyncio.run(retention.mark(retained.world.store, model_id, mark))
        return retained, model_id

    retained, _ = begin()
    for order in preempted(steps_of(retained.sweep())):
        retained, model_id = begin()
        interleave(retained.sweep(), retained.succeeded("t-2"), order=order)
        assert len(retained.files(model_id)) > 1


def test_a_ref_that_crosses_the_sweeps_is_not_given_or_its_model_stays() -> None:
    async def tagged(world: World, model_id: str) -> bool:
        with suppress(CannotTag):
            await model_refs.tag(world.store, "production", model_id)
            return True
        return False

    def agree(retained: Retained, model_id: str, *, given: bool) -> None:
        asyncio.run(retained.sweep(times=2))
        assert given == (retained.files(model_id) != ["manifest.json"])
        assert given == bool(asyncio.run(model_refs.all_refs(retained.world.store)))

    retained, model_id = one_too_old()
    for order in preempted(steps_of(tagged(retained.world, model_id))):
        retained, model_id = one_too_old()
        given, _ = interleave(tagged(retained.world, model_id), retained.sweep(times=3), order=order)
        agree(retained, model_id, given=given)
    retained, model_id = one_too_old()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = one_too_old()
        _, given = interleave(retained.sweep(times=2), tagged(retained.world, model_id), order=order)
        agree(retained, model_id, given=given)


def test_two_that_sweep_at_once_say_one_event_and_delete_after_it() -> None:
    retained, _ = one_too_old()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = one_too_old()
        interleave(retained.sweep(times=2), retained.sweep(times=2, by=retained.another()), order=order)
        assert retained.files(model_id) == ["manifest.json"]
        assert len({str(encode(event)) for event in retained.publisher.events}) == 1


async def test_what_an_export_that_crossed_copied_back_is_deleted_again() -> None:
    retained = Retained()
    model_id = await retained.exported()
    await retained.sweep(times=2, after_days=DAYS)
    await retained.world.store.put(layout.model(model_id) + "adapter_config.json", b"{}")
    await retained.sweep()
    assert retained.files(model_id) == ["manifest.json"]
    assert len({event.id for event in retained.publisher.events}) == 1
