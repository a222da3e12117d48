"""The trainer as executors start it: a process of its own, with a broker, and a SIGTERM."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from contracts.codec import decode
from contracts.training import TrainingProgress
from tests.trainer.bench import Bench
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics

pytestmark = pytest.mark.trainer


async def test_sigterm_leaves_a_checkpoint_says_stopped_and_exits_with_0(bucket_root: Path, tmp_path: Path) -> None:
    bench = Bench(bucket_root)
    await asyncio.to_thread(bench.state)
    await asyncio.to_thread(bench.plan, hyperparameters={"max_steps": 1_000_000})
    spec = tmp_path / "spec.json"
    spec.write_bytes(msgspec.json.encode(bench.spec()))
    async with EmbeddedBroker(tmp_path / "broker.log") as servers:
        await ensure_topics(Brokers(servers))
        settings = msgspec.structs.replace(bench.settings, kafka_bootstrap_servers=servers)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.trainer", str(spec)),
            env=environment | settings.to_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        consumer = AIOKafkaConsumer("training.progress", bootstrap_servers=servers, auto_offset_reset="earliest")
        await consumer.start()
        said: list[TrainingProgress] = []
        try:
            while not said or said[-1].state != "stopped":
                record = await consumer.getone()
                said.append(decode(record.topic, record.key, record.value, record.headers, record.timestamp).data)
                if said[-1].progress and said[-1].progress.step == 3:
                    process.send_signal(signal.SIGTERM)
        finally:
            await consumer.stop()
            if process.returncode is None and (not said or said[-1].state != "stopped"):
                process.kill()
            _, err = await process.communicate()

    assert process.returncode == 0, err.decode()[-2000:]
    assert [one.seq for one in said] == list(range(len(said)))
    assert said[0].state == "deploying"
    checkpoint = said[-1].checkpoint
    assert checkpoint is not None
    assert (bench.path(checkpoint.uri) / "complete.json").exists()


@pytest.mark.parametrize("arguments", [[], ["no-such-file.json"]])
async def test_a_job_that_cannot_be_begun_exits_with_2(arguments: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker.trainer", *arguments), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()

    assert process.returncode == 2
    assert b"SPEC.json" in err or b"no-such-file" in err
