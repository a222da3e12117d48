"""The trainer as a batch job of a real Slurm, told what the settings say: cancelled half way, and on two nodes."""

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest
import torch
from aiokafka import AIOKafkaConsumer

from contracts import event_file
from contracts.codec import decode
from contracts.training import TrainingProgress
from deploy.local.slurm import LocalSlurm
from handlers import layout
from handlers.ports.jobs import JobSpec, JobStatus, Resources
from tests import slurm_servers
from tests.trainer.bench import TASK, Bench, RecordingSink
from tests.wait import wait_until
from worker.executors.slurm import slurm_executor
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.trainer.job import run_job

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


@pytest.mark.long
async def test_a_job_of_two_nodes_trains_as_one_process_does(
    bucket_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(bucket_root)

    def plan(batch_size: int, attempt: int) -> None:
        bench.plan(hyperparameters={"batch_size": batch_size, "max_steps": 4})
        bench.state(attempt)

    await asyncio.to_thread(plan, 2, 1)
    alone = RecordingSink()
    await asyncio.to_thread(run_job, bench.spec(), bench.settings, alone, threading.Event())
    await asyncio.to_thread(plan, 2, 2)
    on_two_nodes = bench.spec(2, resources=Resources(gpus=1, nodes=2))
    async with LocalSlurm(nodes=2) as slurm:
        monkeypatch.setenv("SLURM_CONF", str(slurm.conf))
        settings = msgspec.structs.replace(bench.settings, trainer_events="bucket", slurm_jobs_dir=tmp_path / "jobs")
        executor = slurm_executor(settings)

        async def ended(spec: JobSpec) -> JobStatus:
            async def there() -> bool:
                return (await executor.status(spec.job_id, spec.attempt)).state == "ended"

            await wait_until(there, 120, "the job to end")
            return await executor.status(spec.job_id, spec.attempt)

        try:
            await executor.submit(on_two_nodes)
            assert (await ended(on_two_nodes)).exit_code == 0, await executor.logs(on_two_nodes.job_id, 2)
            # They are two: what one sample a step cannot be shared by.
            await asyncio.to_thread(plan, 1, 3)
            refused = bench.spec(3, resources=on_two_nodes.resources)
            await executor.submit(refused)
            assert (await ended(refused)).exit_code == 1
        finally:
            print((await executor.logs(on_two_nodes.job_id, 2))[0])  # noqa: T201 - what a failure is told from
            await executor.close()

    last = last_word(bench, 2)
    assert last.state == "succeeded"
    assert last.outputs[0].step == alone.last.outputs[0].step == 4
    weights, others = bench.tensors(last.outputs[0].uri), bench.tensors(alone.last.outputs[0].uri)
    assert all(torch.allclose(weights[name], others[name], atol=1e-4) for name in others)
    failure = last_word(bench, 3).failure
    assert failure is not None
    assert "shared by 2 GPUs" in failure.message


def last_word(bench: Bench, attempt: int) -> TrainingProgress:
    [event] = event_file.read((bench.root / layout.last_word(TASK, attempt)).read_bytes())
    assert isinstance(event.data, TrainingProgress)
    return event.data
