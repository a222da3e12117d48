"""A machine: a whole worker with a broker, a bucket and a scratch folder of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from handlers import layout
from handlers.planning.build import FORMATS
from tests.e2e.formats.measures import as_lines
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.platform import Platform, as_json, platform
from tests.running import running_worker
from worker.executors.local import local_executor
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.trainer import base_models


class Machine(NamedTuple):
    """A running worker with its bucket, and the platform it speaks to."""

    platform: Platform
    bucket: Path
    settings: Settings

    async def submit(self, submitted: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """Have samples imported, with a form as their draft, and the form submitted. Both have the task's id."""
        task_id = submitted["task_id"]
        uploaded = self.bucket / "uploads" / f"{task_id}.jsonl"
        uploaded.parent.mkdir(exist_ok=True)
        uploaded.write_bytes(as_lines(samples))
        of_format = FORMATS[submitted["training_type"]]
        imported = {"dataset_id": task_id, "files": [{"uri": uploaded.as_uri()}], "format": of_format}
        await self.platform.publish("dataset.imported", task_id, imported | {"draft": submitted})
        await self.platform.publish("task.created", task_id, submitted)

    async def plan_hash(self, task_id: str) -> str:
        """Return the hash of a task's plan, once it was dispatched."""
        await self.platform.wait_for("training.dispatched", task_id, seconds=60)
        plan_hash: str = as_json((self.bucket / layout.task(task_id, "plan")).read_bytes())["plan_hash"]
        return plan_hash


@asynccontextmanager
async def machine(folder: Path, *, trains: bool) -> AsyncIterator[Machine]:
    """Start a machine; one that does not train dispatches, and nothing more comes of it."""
    async with EmbeddedBroker(folder / "broker.log") as servers:
        settings = Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(folder / "bucket").as_uri(),
            work_dir=folder,
            session_timeout_seconds=3.0,
            progress_seconds=0.5,
            reconcile_seconds=0.5,
            drain_seconds=5.0,
        )
        for name in ("tiny", "tiny-encoder"):
            await asyncio.to_thread(base_models.provide, name, settings)
        await ensure_topics(Brokers(servers))
        ports = {} if trains else {"executors": FakeExecutors(FakeExecutor())}
        async with platform(servers) as seen:
            try:
                async with running_worker(settings, ports=ports):
                    yield Machine(seen, folder / "bucket", settings)
            finally:
                if trains:
                    await _end_all_trainers(settings)


async def _end_all_trainers(settings: Settings) -> None:
    executor = local_executor(settings)
    await executor.kill_all()
    await executor.close()
