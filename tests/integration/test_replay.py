"""Replays on real brokers: what is recorded is said again, and nothing else happens."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from handlers import layout
from handlers.ports.store import ObjectStore
from tests.integration.conftest import World
from tests.platform import form, sample
from worker.kafka.broker import Brokers
from worker.kafka.topic_reader import NoSuchTopic, read_topic
from worker.replay import NotReplayable, Wanted, replay

VALIDATED = Path(__file__).parents[2] / "contracts/examples/events/dataset.validated/minimal.json"
BAD = b'{"messages": []}\n'


async def everything(store: ObjectStore) -> dict[str, str]:
    return {info.key: info.etag async for info in store.list("") if not info.key.startswith("leases/")}


@pytest.fixture
async def story(world: World) -> World:
    """Two datasets validated and one form refused, and no worker any more."""
    async with world.worker():
        await world.import_dataset("d1")
        await world.import_dataset("d2", sample() + BAD)
        await world.platform.send("dataset.imported", b"d3", b"not JSON")
        await world.platform.publish("task.created", "t1", form("t1", "d2"))
        await world.platform.wait_for("dataset.validated", "d1")
        await world.platform.wait_for("dataset.rejected", "d2")
        await world.platform.wait_for_phase("t1", "Failed")
    return world


async def test_a_replay_says_the_same_under_the_same_ids_and_writes_nothing(story: World) -> None:
    before, ids = await everything(story.store), story.platform.ids("dataset.validated")
    result = await replay(story.settings, Wanted(topic="dataset.imported"))
    assert (result.records, result.poison, result.failed) == (3, 1, [])
    assert result.stages["dataset-validation"].outcomes == {"validated": 1, "rejected": 1}
    await story.platform.wait_for("dataset.validated", "d1", count=2)
    await story.platform.wait_for("dataset.rejected", "d2", count=2)
    assert story.platform.ids("dataset.validated") == ids
    assert await everything(story.store) == before
    assert len(story.platform.letters) == 1


async def test_a_dry_run_shows_where_todays_rules_differ_and_changes_nothing(story: World) -> None:
    unchanged = await replay(story.settings, Wanted(topic="dataset.imported", dry_run=True))
    assert unchanged.changed == []
    await _judged_otherwise_once(story.store, "d2")
    before, said = await everything(story.store), len(story.platform.events)
    result = await replay(story.settings, Wanted(topic="dataset.imported", dry_run=True))
    assert [(change.stage, change.recorded, change.now) for change in result.changed] == [
        ("dataset-validation", "validated", "rejected")
    ]
    assert result.changed[0].business_key.startswith("d2/")
    assert await everything(story.store) == before
    assert len(story.platform.events) == said


async def test_only_what_is_asked_for_is_replayed(story: World) -> None:
    async def records(**asked: Any) -> int:
        return (await replay(story.settings, Wanted(topic="dataset.imported", dry_run=True, **asked))).records

    now = datetime.now(UTC)
    assert await records(key="d1") == 1
    assert await records(key="nobody") == 0
    assert await records(since=now + timedelta(hours=1)) == 0
    assert await records(since=now - timedelta(hours=1)) == 3
    assert await records(until=now - timedelta(hours=1)) == 0
    assert await records(rate=100.0) == 3


async def test_a_task_is_not_dispatched_again(story: World) -> None:
    revision = (await story.store.get(layout.task("t1", "state"))) or None
    result = await replay(story.settings, Wanted(topic="task.created"))
    assert result.stages["training-dispatch"].said == {"task.status": 1}
    assert await story.store.get(layout.task("t1", "state")) == revision


async def test_an_import_of_the_future_holds_no_replay_up(world: World) -> None:
    verdict = json.loads(VALIDATED.read_bytes()) | {"imported_at": "2999-01-01T00:00:00Z"}
    await world.platform.publish("dataset.validated", verdict["dataset_id"], verdict)
    async with asyncio.timeout(60):
        result = await replay(world.settings, Wanted(topic="dataset.validated", stage="cost-estimation"))
    assert (result.records, result.poison) == (1, 0)
    assert sum(result.stages["cost-estimation"].outcomes.values()) + len(result.failed) == 1


async def test_what_cannot_be_replayed_is_named(story: World) -> None:
    for wanted, said in (
        (Wanted(topic="task.crated"), "no topic task.crated"),
        (Wanted(topic="model.exported"), "no stage"),
        (Wanted(topic="task.created", stage="model-export"), "training-dispatch"),
    ):
        with pytest.raises(NotReplayable, match=said):
            await replay(story.settings, wanted)
    with pytest.raises(NoSuchTopic, match=r"nothing\.here"):
        await anext(read_topic(Brokers.of(story.settings), "nothing.here"))


async def _judged_otherwise_once(store: ObjectStore, dataset_id: str) -> None:
    """Make the recorded verdict one that other rules might have given."""
    (key,) = [info.key async for info in store.list(f"receipts/dataset-validation/1/{dataset_id}/")]
    stored = await store.get(key)
    assert stored is not None
    receipt = msgspec.json.decode(stored.body)
    receipt["outcome"] = "validated"
    for event in receipt["events"]:
        event["topic"] = event["type"] = "dataset.validated"
    await store.put(key, msgspec.json.encode(receipt))
