"""Three Kafka nodes: each is killed and comes back in turn, and leaders change under a worker that goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.kafka import ApacheKafka
from handlers.errors import Unavailable
from tests import kafka_servers
from tests.fakes.executor import FakeExecutor
from tests.integration.conftest import World
from tests.platform import platform
from tests.wait import wait_until
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),  # three nodes on a busy machine: what a cut teardown leaves running fails a test after it
    pytest.mark.skipif(not kafka_servers.process_possible(), reason="Java and Maven run Apache Kafka"),
]

_NODES = 3


@pytest.fixture
async def kafka() -> AsyncIterator[ApacheKafka]:
    nodes = ApacheKafka(nodes=_NODES)
    async with nodes as servers:
        await ensure_topics(Brokers(servers))
        yield nodes


@pytest.fixture
async def world(kafka: ApacheKafka, tmp_path: Path) -> AsyncIterator[World]:
    settings = Settings(
        kafka_bootstrap_servers=kafka.address(),
        storage_url=(tmp_path / "bucket").as_uri(),
        work_dir=tmp_path,
        session_timeout_seconds=6.0,
        estimate_delay_seconds=1.0,
    )
    async with open_store(settings) as store, platform(kafka.address()) as seen:
        yield World(seen, store, settings, FakeExecutor())


async def _leaders(world: World, topic: str) -> dict[int, int]:
    """Return each partition's leading node; -1 where there is none."""
    async with connected(AIOKafkaAdminClient, Brokers.of(world.settings)) as admin:
        (described,) = await admin.describe_topics([topic])
    return {place["partition"]: place["leader"] for place in described["partitions"]}


async def _copies(world: World, topic: str) -> int:
    """Return how many copies the partition with the fewest has in step."""
    async with connected(AIOKafkaAdminClient, Brokers.of(world.settings)) as admin:
        (described,) = await admin.describe_topics([topic])
    return min(len(place["isr"]) for place in described["partitions"])


async def test_topics_have_three_copies_and_need_two(world: World) -> None:
    assert await _copies(world, "task.created") == _NODES


async def test_every_event_is_answered_once_while_each_node_dies_and_comes_back(
    kafka: ApacheKafka, world: World
) -> None:
    imported: list[str] = []

    async def import_on() -> None:
        while True:
            # As a platform does: until it is acknowledged.
            with contextlib.suppress(Unavailable):
                await world.import_dataset(dataset_id := f"d{len(imported)}")
                imported.append(dataset_id)

    async with world.worker():
        importing = asyncio.create_task(import_on())
        for node in range(1, _NODES + 1):
            before = len(imported)
            await wait_until(lambda before=before: len(imported) >= before + 20, 60, "imports")  # type: ignore[misc]
            led = [place for place, leader in (await _leaders(world, "dataset.imported")).items() if leader == node]
            await kafka.kill(node)

            async def led_by_others(node: int = node, led: list[int] = led) -> bool:
                with contextlib.suppress(BrokerUnavailable):  # the one that is down was asked
                    leaders = await _leaders(world, "dataset.imported")
                    return all(leaders[place] not in {node, -1} for place in led)
                return False

            await wait_until(led_by_others, 60, f"others to lead what {node} led")
            before = len(imported)
            await wait_until(lambda before=before: len(imported) >= before + 20, 90, "imports")  # type: ignore[misc]
            await kafka.start(node)

            async def in_step() -> bool:
                with contextlib.suppress(BrokerUnavailable):
                    return await _copies(world, "dataset.imported") == _NODES
                return False

            await wait_until(in_step, 90, f"node {node} to catch up")
        importing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await importing
        for dataset_id in imported:
            await world.platform.wait_for("cost.estimated", dataset_id, seconds=120)
    for topic in ("dataset.validated", "cost.estimated"):
        assert {dataset_id: len(world.platform.ids(topic, dataset_id)) for dataset_id in imported} == dict.fromkeys(
            imported, 1
        )
    assert world.platform.letters == []
