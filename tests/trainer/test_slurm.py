"""The trainer as a batch job of a real Slurm, told what the settings say, cancelled half way."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from contracts.codec import decode
from contracts.training import TrainingProgress
from deploy.local.slurm import LocalSlurm
from handlers.ports import JobStatus, Resources
from tests import slurm_servers
from tests.trainer.bench import Bench
from tests.wait import wait_until
from worker.broker import Brokers
from worker.embedded_broker import EmbeddedBroker
from worker.executors.slurm import slurm_executor
from worker.topics import ensure_topics

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.skipif(not slurm_servers.possible(), reason="needs a real Slurm: make slurm"),
]


async def test_a_cancelled_batch_job_leaves_a_checkpoint_and_says_stopped(
    bucket_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(bucket_root)
    await asyncio.to_thread(bench.state)
    await asyncio.to_thread(bench.plan, hyperparameters={"max_steps": 1_000_000})
    spec = bench.spec(resources=Resources(gpus=1))
    async with EmbeddedBroker(tmp_path / "broker.log") as servers, LocalSlurm() as slurm:
        await ensure_topics(Brokers(servers))
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        settings = msgspec.structs.replace(
            bench.settings, kafka_bootstrap_servers=servers, slurm_jobs_dir=tmp_path / "jobs"
        )
        executor = slurm_executor(settings)
        consumer = AIOKafkaConsumer("training.progress", bootstrap_servers=servers, auto_offset_reset="earliest")
        await consumer.start()
        said: list[TrainingProgress] = []
        try:
            await executor.submit(spec)
            while not said or said[-1].state != "stopped":
                record = await consumer.getone()
                said.append(decode(record.topic, record.key, record.value, record.headers, record.timestamp).data)
                if said[-1].progress and said[-1].progress.step == 3:
                    await executor.cancel(spec.job_id, spec.attempt, 60)

            async def ended() -> bool:
                return (await executor.status(spec.job_id, spec.attempt)).state == "ended"

            await wait_until(ended, 60, "the job to end")
            assert await executor.status(spec.job_id, spec.attempt) == JobStatus(state="ended", exit_code=0)
        finally:
            print((await executor.logs(spec.job_id, spec.attempt))[0])  # noqa: T201 - what a failure is told from
            await consumer.stop()
            await executor.close()

    assert [one.seq for one in said] == list(range(len(said)))
    checkpoint = said[-1].checkpoint
    assert checkpoint is not None
    assert (bench.path(checkpoint.uri) / "complete.json").exists()
