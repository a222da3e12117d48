"""A whole worker in this process, on the embedded broker and on Apache Kafka, with a bucket in a folder."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from handlers.ports.store import ObjectStore
from tests import kafka_servers
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.tokens import FakeTokenCounter
from tests.platform import Platform, platform, sample
from tests.running import running_worker
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store


class World(NamedTuple):
    """What a flow test stands on."""

    platform: Platform
    store: ObjectStore
    settings: Settings
    executor: FakeExecutor

    async def upload(self, dataset_id: str, body: bytes = sample() * 3) -> str:
        """Put a dataset's file into the bucket; return its URI."""
        key = f"uploads/{dataset_id}.jsonl"
        await self.store.put(key, body)
        return self.store.uri(key)

    async def import_dataset(self, dataset_id: str, body: bytes = sample() * 3, **more: Any) -> dict[str, Any]:
        """Upload a dataset and publish its import; return what was published."""
        data = {"dataset_id": dataset_id, "files": [{"uri": await self.upload(dataset_id, body)}], **more}
        await self.platform.publish("dataset.imported", dataset_id, data)
        return data

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Run a worker; yields a function that stops it in order and waits."""
        ports = {"executors": FakeExecutors(self.executor), "tokens": FakeTokenCounter(), **changes}
        async with running_worker(self.settings, ports=ports) as stop:
            yield stop


#: Apache Kafka where it can run, and then the embedded one in `make test-long`; `pytest` says in its header where it
#: cannot.
BROKERS = [pytest.param("embedded", marks=pytest.mark.long), "apache-kafka"] if kafka_servers.rung() else ["embedded"]


@pytest.fixture(params=BROKERS)
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A fresh broker of each kind."""
    async with EmbeddedBroker() if request.param == "embedded" else kafka_servers.real_kafka() as address:
        await ensure_topics(Brokers(address))
        yield address


@pytest.fixture
async def world(servers: str, tmp_path: Path) -> AsyncIterator[World]:
    """A platform, a bucket and settings with short times. The worker is started by the test."""
    settings = Settings(
        kafka_bootstrap_servers=servers,
        storage_url=(tmp_path / "bucket").as_uri(),
        work_dir=tmp_path,
        session_timeout_seconds=3.0,
        estimate_delay_seconds=1.0,
        reconcile_seconds=0.2,
        lost_job_seconds=1.0,
        lease_seconds=1.0,
        drain_seconds=5.0,
    )
    async with open_store(settings) as store, platform(servers) as seen:
        yield World(seen, store, settings, FakeExecutor())


@pytest.fixture
def logged() -> StringIO:
    """What is logged in this process, and not on the stdout of commands."""
    lines = StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(lines))
    return lines
