"""A trainer as executors start it: a process of its own, and a broker that it speaks to."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer

from contracts.codec import decode
from contracts.training import TrainingProgress
from handlers.ports.jobs import JobSpec
from tests.trainer.bench import Bench
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics

_ENDS = ("succeeded", "failed", "stopped")


async def trained_in_process(
    bench: Bench, spec: JobSpec, folder: Path, sigterm_at: int | None = None
) -> tuple[list[TrainingProgress], int]:
    """Run a job in a process, and return all it said and its exit code. Its SIGTERM comes at a step."""
    path = folder / "spec.json"
    path.write_bytes(msgspec.json.encode(spec))
    async with EmbeddedBroker(folder / "broker.log") as servers:
        await ensure_topics(Brokers(servers))
        settings = msgspec.structs.replace(bench.settings, kafka_bootstrap_servers=servers)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.trainer", str(path)),
            env=environment | settings.to_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        consumer = AIOKafkaConsumer("training.progress", bootstrap_servers=servers, auto_offset_reset="earliest")
        await consumer.start()
        said: list[TrainingProgress] = []
        try:
            while not said or said[-1].state not in _ENDS:
                record = await asyncio.wait_for(consumer.getone(), 120)
                said.append(decode(record.topic, record.key, record.value, record.headers, record.timestamp).data)
                if said[-1].progress and said[-1].progress.step == sigterm_at and not said[-1].checkpoint:
                    process.send_signal(signal.SIGTERM)
        finally:
            await consumer.stop()
            if process.returncode is None and (not said or said[-1].state not in _ENDS):
                process.kill()
            _, err = await process.communicate()
    sys.stderr.write(err.decode()[-3000:])
    assert process.returncode is not None
    return said, process.returncode
