"""Models expire: marked, then said, then deleted, wherever it is killed; only where their project says so."""

import asyncio
from contextlib import suppress

import pytest

from contracts.codec import encode
from handlers import layout
from handlers.errors import Unavailable
from handlers.table import STAGES
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.faults import Crash, Faults, faulty_world
from tests.fakes.retained import DAY, DAYS, Retained
from tests.wait import wait_until
from worker.app import _background
from worker.cancelling import cancel
from worker.settings import Settings

KILLED = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


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
        await world.clock.advance(DAYS * DAY)
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
    await retained.world.clock.advance(DAYS * DAY)
    retained.world.store.available = False
    retained.publisher.failures = [Unavailable("Kafka does not answer"), RuntimeError("a bug")]
    sweeps = asyncio.create_task(retained.another(every_seconds=0.001).run())
    try:
        await asyncio.sleep(0)
        retained.world.store.available = True
        await wait_until(lambda: retained.files(model_id) == ["manifest.json"], 60, "the model to go")
        assert retained.publisher.failures == []
    finally:
        await cancel([sweeps])
    assert retained.world.keys("leases/retention/") == []
