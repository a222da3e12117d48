"""Models expire: marked, then said, then deleted; never while one is used; whatever dies or crosses on the way."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from contracts.codec import encode
from contracts.model import Expiry
from contracts.task import Phase
from handlers import layout, model_refs, retention
from handlers.errors import Unavailable
from handlers.model_refs import CannotTag
from handlers.table import STAGES
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.faults import Crash, Faults, faulty_world, survives
from tests.fakes.retained import DAYS, Retained
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.world import World, command_event, form_event, statuses
from tests.wait import wait_until
from worker.app import _background
from worker.cancelling import cancel
from worker.settings import Settings

KILLED = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


def on(model_id: str) -> dict[str, Any]:
    return {"base_model": {"custom_model_id": model_id}}


async def test_a_model_is_kept_until_its_time_is_over_and_then_goes() -> None:
    retained = Retained()
    model_id = await retained.exported()
    whole, before = retained.files(model_id), retained.manifest(model_id)

    await retained.sweep(times=2, after_days=DAYS - 0.001)
    assert (retained.files(model_id), retained.said()) == (whole, [])

    await retained.sweep(after_days=0.002)
    assert (retained.files(model_id), retained.said()) == (whole, []), "it is only marked"
    await retained.sweep()

    assert retained.files(model_id) == ["manifest.json"]
    (expired,) = retained.said()
    assert (expired.model_id, expired.task_id, expired.project) == (model_id, "t-1", "default")
    assert (expired.retention_days, expired.size_bytes) == (DAYS, sum(file.size for file in before.files))
    assert expired.expired_at - expired.exported_at >= retained.world.ports["projects"].model_retention("default")
    after = retained.manifest(model_id)
    assert after.expiry is not None
    assert (after.files, after.lineage) == (before.files, before.lineage), "what it was stays known"

    await retained.sweep(times=3, after_days=DAYS)
    assert len(retained.said()) == 1


async def test_projects_keep_their_models_each_as_long_as_its_rules_say() -> None:
    rules = {"short": ProjectRules(model_retention_days=1), "for-good": ProjectRules()}
    projects = Projects(named=rules)
    assert projects.expires_models
    assert not Projects(named={"for-good": ProjectRules()}).expires_models
    every = Projects(every=ProjectRules(model_retention_days=7), named=rules)
    assert [every.model_retention(name).days for name in ("short", "for-good", "other")] == [1, 7, 7]  # type: ignore[union-attr]

    retained = Retained()
    retained.world.ports["projects"] = projects
    retained.sweeper = retained.another()
    models = [await retained.exported(name, project=name) for name in ("short", "for-good", "other")]
    await retained.sweep(times=2, after_days=1000)
    assert [said.model_id for said in retained.said()] == models[:1]
    assert [len(retained.files(model_id)) > 1 for model_id in models] == [False, True, True]


async def test_a_deletion_comes_after_the_word_and_the_manifest_is_never_deleted() -> None:
    world, faults = faulty_world()
    retained = Retained(world, faults)
    await retained.exported()
    already = len(faults.calls)
    await retained.sweep(times=2, after_days=DAYS)
    done = [call.partition(" ")[0] for call in faults.calls[already:] if call.startswith(("publish", "delete models/"))]
    assert done == ["publish", "delete", "delete", "delete"]


async def test_nothing_is_deleted_before_it_is_acknowledged_that_the_model_expired() -> None:
    retained = Retained()
    model_id = await retained.exported()
    whole = retained.files(model_id)
    await retained.sweep(after_days=DAYS)
    retained.publisher.failures = [Unavailable("Kafka does not answer")]
    await retained.sweep()
    assert retained.files(model_id) == whole
    await retained.sweep()
    assert retained.files(model_id) == ["manifest.json"]


@KILLED
async def test_killed_at_any_call_it_goes_on_from_there(*, after: bool) -> None:
    async def begin() -> tuple[Retained, Faults, str]:
        world, faults = faulty_world()
        retained = Retained(world, faults)
        model_id = await retained.exported("t-1", 10, 20)
        await world.clock.advance(DAYS * 86_400)
        return retained, faults, model_id

    retained, faults, _ = await begin()
    already = len(faults.calls)
    await retained.sweep(times=2)
    calls = len(faults.calls) - already
    assert calls > 15
    for at in range(calls):
        retained, faults, model_id = await begin()
        faults.crash_at, faults.after, faults.for_good = len(faults.calls) + at, after, True
        with suppress(Crash):
            await retained.sweep(times=2)
        faults.crash_at = None
        retained.sweeper = retained.another()
        await retained.sweep(times=2)
        assert retained.files(model_id) == ["manifest.json"]
        assert {said.model_id for said in retained.said()} == {
            key.split("/")[1] for key in retained.world.keys("models/")
        }
        distinct = {str(encode(event)) for event in retained.publisher.events}
        assert len(distinct) == 2, "said again it is the same event, to the byte"
        first_said, first_deleted = faults.calls.index("publish"), _first(faults, "delete models/")
        assert first_said < first_deleted


def _first(faults: Faults, call: str) -> int:
    return next(number for number, name in enumerate(faults.calls) if name.startswith(call))


async def test_a_sweep_reads_of_a_repository_only_what_it_does_not_know_yet() -> None:
    world, faults = faulty_world()
    retained = Retained(world, faults)
    await retained.exported("t-1", 10, 20, 30)
    await retained.sweep()
    already = len(faults.calls)
    await retained.sweep()
    assert faults.calls[already:] == ["list models/"]


# --- what is used ----------------------------------------------------------------------------------------------


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


# --- what crosses ----------------------------------------------------------------------------------------------


def test_a_task_that_crosses_the_sweeps_is_refused_or_has_its_base() -> None:
    def begin() -> tuple[Retained, str]:
        retained = Retained()
        model_id = asyncio.run(retained.exported())
        asyncio.run(retained.world.clock.advance(DAYS * 86_400))
        return retained, model_id

    def refused_or_whole(retained: Retained, model_id: str) -> Phase:
        asyncio.run(retained.sweep(times=2))
        phase = asyncio.run(retained.world.state("t-2")).phase
        assert (phase is Phase.FAILED) == (retained.files(model_id) == ["manifest.json"])
        return phase

    def dispatch(retained: Retained, model_id: str) -> Any:
        return retained.world.deliver("training-dispatch", form_event("t-2", "d-1", **on(model_id)))

    retained, model_id = begin()
    ends = set()
    for order in preempted(steps_of(dispatch(retained, model_id))):
        retained, model_id = begin()
        interleave(dispatch(retained, model_id), retained.sweep(times=3), order=order)
        ends.add(refused_or_whole(retained, model_id))
    assert ends == {Phase.FAILED, Phase.QUEUED}

    retained, model_id = begin()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = begin()
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
    def begin() -> tuple[Retained, str]:
        retained = Retained()
        model_id = asyncio.run(retained.exported())
        asyncio.run(retained.world.clock.advance(DAYS * 86_400))
        return retained, model_id

    async def tagged(world: World, model_id: str) -> bool:
        with suppress(CannotTag):
            await model_refs.tag(world.store, "production", model_id)
            return True
        return False

    def agree(retained: Retained, model_id: str, *, given: bool) -> None:
        asyncio.run(retained.sweep(times=2))
        assert given == (retained.files(model_id) != ["manifest.json"])
        assert given == bool(asyncio.run(model_refs.all_refs(retained.world.store)))

    retained, model_id = begin()
    for order in preempted(steps_of(tagged(retained.world, model_id))):
        retained, model_id = begin()
        given, _ = interleave(tagged(retained.world, model_id), retained.sweep(times=3), order=order)
        agree(retained, model_id, given=given)
    retained, model_id = begin()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = begin()
        _, given = interleave(retained.sweep(times=2), tagged(retained.world, model_id), order=order)
        agree(retained, model_id, given=given)


def test_two_that_sweep_at_once_say_one_event_and_delete_after_it() -> None:
    def begin() -> tuple[Retained, str]:
        retained = Retained()
        model_id = asyncio.run(retained.exported())
        asyncio.run(retained.world.clock.advance(DAYS * 86_400))
        return retained, model_id

    retained, _ = begin()
    for order in preempted(steps_of(retained.sweep(times=2))):
        retained, model_id = begin()
        other = retained.another()
        interleave(retained.sweep(times=2), _twice(other), order=order)
        assert retained.files(model_id) == ["manifest.json"]
        assert len({str(encode(event)) for event in retained.publisher.events}) == 1


async def _twice(sweeper: Any) -> None:
    await sweeper.sweep()
    await sweeper.sweep()


async def test_what_an_export_that_crossed_copied_back_is_deleted_again() -> None:
    retained = Retained()
    model_id = await retained.exported()
    await retained.sweep(times=2, after_days=DAYS)
    await retained.world.store.put(layout.model(model_id) + "adapter_config.json", b"{}")
    await retained.sweep()
    assert retained.files(model_id) == ["manifest.json"]
    assert len({event.id for event in retained.publisher.events}) == 1


async def test_what_is_no_model_of_ours_is_left_alone() -> None:
    retained = Retained()
    model_id = await retained.exported()
    store = retained.world.store
    await retained.sweep(after_days=DAYS)
    manifest = store.objects[layout.model(model_id) + "manifest.json"]
    await store.put("models/copy/manifest.json", manifest)
    await store.put("models/copy/adapter_config.json", b"{}")
    await store.put("models/broken/manifest.json", b"{")
    await store.put("models/unfinished/model.safetensors", b"w")
    await retained.sweep()
    assert [said.model_id for said in retained.said()] == [model_id]
    left = [key for key in retained.world.keys("models/") if model_id not in key]
    assert left == [
        "models/broken/manifest.json",
        "models/copy/adapter_config.json",
        "models/copy/manifest.json",
        "models/unfinished/model.safetensors",
    ]


# --- in a worker -----------------------------------------------------------------------------------------------


async def test_a_worker_sweeps_where_models_expire_and_leaves_the_bucket_alone_where_none_does() -> None:
    retained = Retained()
    stages = [stage for stage in STAGES if stage.name == "training-dispatch"]
    for projects, sweeps in ((retained.world.ports["projects"], True), (Projects(), False)):
        ports = retained.world.ports | {"projects": projects}
        tasks = _background(Settings(), stages, ports, retained.publisher)
        assert ("retention" in {task.get_name() for task in tasks}) == sweeps
        await cancel(tasks)


async def test_the_sweeps_go_on_whatever_fails() -> None:
    retained = Retained()
    model_id = await retained.exported()
    await retained.world.clock.advance(DAYS * 86_400)
    retained.world.store.available = False
    retained.publisher.failures = [Unavailable("Kafka does not answer"), RuntimeError("a bug")]
    sweeps = asyncio.create_task(retained.another(every_seconds=0.001).run())
    try:
        await asyncio.sleep(0)
        retained.world.store.available = True
        await wait_until(lambda: retained.files(model_id) == ["manifest.json"], 10, "the model to go")
        assert retained.publisher.failures == []
    finally:
        await cancel([sweeps])
    assert retained.world.keys("leases/retention/") == []
