"""The trainer as Ray starts it, on a real head: told its job by the environment alone, and stopped by Ray."""

import asyncio
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from contracts.codec import decode
from deploy.local.ray import RayHead
from handlers import layout
from handlers.ports.jobs import JobStatus
from tests import ray_servers
from tests.trainer.bench import TASK, Bench
from tests.wait import wait_until
from worker.executors.ray import RayExecutor
from worker.executors.remote import trainer_environment
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.long,
    pytest.mark.skipif(not ray_servers.possible(), reason=f"Ray: {ray_servers.description()}"),
]


async def test_a_job_trains_on_ray_and_another_saves_when_it_is_cancelled(bucket_root: Path, tmp_path: Path) -> None:
    bench = Bench(bucket_root)
    async with EmbeddedBroker(tmp_path / "broker.log") as servers, RayHead() as head:
        await ensure_topics(Brokers(servers))
        settings = msgspec.structs.replace(bench.settings, kafka_bootstrap_servers=servers)
        executor = RayExecutor(
            head.url,
            partial(trainer_environment, settings),
            owner="me",
            grace_seconds=60,
            token_file=head.token_file,
            command=(sys.executable, "-m", "worker.trainer"),
        )

        async def ended(attempt: int, exit_code: int | None) -> None:
            async def there() -> bool:
                status = await executor.status(TASK, attempt)
                assert status.state != "ended" or status.exit_code == exit_code, await executor.logs(TASK, attempt)
                return status == JobStatus(state="ended", exit_code=exit_code)

            await wait_until(there, 60, f"attempt {attempt} to end")

        await asyncio.to_thread(bench.state)
        await asyncio.to_thread(bench.plan)
        await executor.submit(bench.spec())
        await ended(1, 0)
        assert "model.safetensors" in await asyncio.to_thread(
            _names, bench.path(bench.store.uri(layout.attempt(TASK, 1)))
        )

        await asyncio.to_thread(bench.state, 2)
        await asyncio.to_thread(bench.plan, hyperparameters={"max_steps": 1_000_000, "checkpoint_steps": 1_000_000})
        await executor.submit(bench.spec(2))
        await _third_step(servers, attempt=2)
        await executor.cancel(TASK, 2, 60)
        # Ray keeps no exit code of what it stopped.
        await ended(2, None)
        assert "complete.json" in await asyncio.to_thread(_names, bucket_root / layout.attempt(TASK, 2))
        await executor.close()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def _third_step(servers: str, attempt: int) -> None:
    """Return when an attempt has reported its third step."""
    consumer = AIOKafkaConsumer("training.progress", bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            async for record in consumer:
                said = decode(record.topic, record.key, record.value, record.headers, record.timestamp).data
                if said.attempt == attempt and said.progress and said.progress.step >= 3:
                    return
    finally:
        await consumer.stop()
