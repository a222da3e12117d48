"""A whole worker on Apache Kafka whose tasks train on a real Ray, or a real Slurm, with the real trainer: whatever is
killed or paused in the middle, one run counts, and it ends with the weights of one that nothing happened to.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import pytest_asyncio
from msgspec.structs import replace
from numpy.typing import NDArray
from safetensors.numpy import load_file

from handlers import layout, task_state
from handlers.ports.store import ObjectStore
from handlers.task_state import TaskState
from tests import kafka_servers, ray_servers, slurm_servers
from tests.e2e.engines import engine as engines
from tests.e2e.engines.engine import Engine
from tests.e2e.exports import verifies
from tests.platform import Platform, form, platform, sample
from tests.sweeps import outlasted
from tests.wait import wait_until
from worker.demo.processes import SupervisedWorker, run_to_end
from worker.kafka.broker import Brokers
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.file_uri import path_of

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not kafka_servers.rung(), reason="needs Apache Kafka"),
]

#: The longest that anything may take on a machine that does much else.
SECONDS = 300
STEPS = 8
SAMPLES = b"".join(sample(f"Who is number {n}?", f"Number {n} is nobody but number {n}.") for n in range(8))
#: Every step has a checkpoint, and the generators and the optimizer a part in the weights.
HYPERPARAMETERS = {"max_steps": STEPS, "checkpoint_steps": 1, "batch_size": 2, "lora_dropout": 0.2}

Weights = dict[str, NDArray[Any]]


class Service(NamedTuple):
    """A worker process that is started again whenever it dies, the engine it hands training to, and their platform."""

    engine: Engine
    platform: Platform
    store: ObjectStore
    settings: Settings
    worker: SupervisedWorker

    async def submit(self, task_id: str) -> None:
        """Publish a task: all are the same but for their names."""
        submitted = form(task_id, "d1", hyperparameters=HYPERPARAMETERS, shuffle=7)
        await self.platform.publish("task.created", task_id, submitted)

    async def command(self, task_id: str, name: str) -> None:
        order = {"command_id": f"{name}-{task_id}", "task_id": task_id, "command": name}
        await self.platform.publish("task.command", task_id, order)

    async def saved(self, task_id: str, attempt: int, step: int) -> None:
        """Return when an attempt has said that it left a checkpoint of a step."""

        def said() -> bool:
            events = [event.data for event in self.platform.said("training.progress", task_id) if event.data.checkpoint]
            return any((each.attempt, each.checkpoint.step) == (attempt, step) for each in events)

        await wait_until(said, SECONDS, f"the checkpoint of step {step} of {task_id}, attempt {attempt}")

    def steps(self, task_id: str) -> dict[int, list[int]]:
        """Return the steps that each attempt did, as it said them."""
        events = [event.data for event in self.platform.said("training.progress", task_id)]
        found: dict[int, list[int]] = {}
        for said in events:
            if said.progress and said.state == "running" and not said.checkpoint:
                found.setdefault(said.attempt, []).append(said.progress.step)
        return found

    async def completed(self, task_id: str) -> tuple[TaskState, Weights]:
        """Wait for a task's end; return its state, and the weights of the one model it was exported as, verified."""
        await self.platform.wait_for_phase(task_id, "Completed", SECONDS)
        await self.platform.wait_for("model.exported", task_id)
        state = await task_state.read(self.store, task_id)
        assert state is not None
        models = {event.id: event.data for event in self.platform.said("model.exported", task_id)}
        [model] = models.values()
        assert (model.attempt, model.step) == (state.promoted, STEPS)
        folder = Path(path_of(self.settings.storage_url)) / layout.model(model.model_id)
        await verifies(folder, self.settings)
        assert self.platform.letters == []
        return state, load_file(folder / "adapter_model.safetensors")


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=[
        pytest.param(engines.ray, marks=pytest.mark.skipif(not ray_servers.possible(), reason="needs Ray: make ray")),
        pytest.param(
            engines.slurm, marks=pytest.mark.skipif(not slurm_servers.possible(), reason="needs Slurm: make slurm")
        ),
    ],
)
async def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    started: Callable[[Path], AbstractAsyncContextManager[Engine]] = request.param
    folder = tmp_path_factory.mktemp("engines")
    async with kafka_servers.real_kafka() as servers, started(folder) as engine:
        rules = folder / "rules.toml"
        rules.write_text(f'[[rules]]\nexecutor = "{engine.name}"\ngpus = 1\n')
        settings = Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(folder / "bucket").as_uri(),
            work_dir=folder,
            executors_file=rules,
            session_timeout_seconds=6.0,
            estimate_delay_seconds=1.0,
            progress_seconds=0.2,
            reconcile_seconds=0.5,
            lost_job_seconds=2.0,
            lease_seconds=2.0,  # a beat each half second
        )
        settings = replace(settings, **engine.settings)
        await ensure_topics(Brokers(servers))
        await run_to_end(settings, "worker.trainer.base_models", "tiny")
        async with (
            open_store(settings) as store,
            platform(servers) as seen,
            SupervisedWorker(settings, folder / "worker.log", lambda _: None) as worker,
        ):
            await store.put("uploads/d1.jsonl", SAMPLES)
            imported = {"dataset_id": "d1", "files": [{"uri": store.uri("uploads/d1.jsonl")}]}
            await seen.publish("dataset.imported", "d1", imported)
            yield Service(engine, seen, store, settings, worker)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def undisturbed(service: Service) -> Weights:
    """The weights of a run that nothing happens to."""
    service.engine.machine.halt_after(STEPS + 1)
    await service.submit("undisturbed")
    state, weights = await service.completed("undisturbed")
    assert state.promoted == 1
    return weights


async def test_worker_trainer_and_engine_are_killed_and_one_run_counts(service: Service, undisturbed: Weights) -> None:
    engine, machine = service.engine, service.engine.machine
    before = machine.starts()
    machine.halt_after(2)
    await service.submit("killed")
    await service.saved("killed", attempt=1, step=2)

    assert service.worker.pid is not None
    os.kill(service.worker.pid, signal.SIGKILL)
    await outlasted(service.store, beats=10)
    machine.halt_after(4)
    await service.saved("killed", attempt=1, step=4)
    assert machine.starts() == before + 1, "the next worker goes on with the job that it finds"

    machine.kill_trainer()
    machine.halt_after(5)
    await service.saved("killed", attempt=2, step=5)
    assert len(machine.living()) == 1

    await engine.crash()
    await outlasted(service.store, beats=10)
    machine.halt_after(STEPS + 1)
    state, weights = await service.completed("killed")

    last = 2 if engine.jobs_survive else 3
    assert (state.attempt, state.promoted, state.executor) == (last, last, engine.name)
    assert [end.attempt for end in state.ends] == list(range(1, last))
    assert machine.starts() == before + last, "one process an attempt"
    rest = {2: [5, 6, 7, 8]} if engine.jobs_survive else {2: [5], 3: [6, 7, 8]}
    assert service.steps("killed") == {1: [1, 2, 3, 4], **rest}, "no step is lost, and none is done twice"
    assert same(weights, undisturbed)


async def test_a_paused_run_goes_on_from_its_checkpoint_and_ends_with_the_same_weights(
    service: Service, undisturbed: Weights
) -> None:
    service.engine.machine.halt_after(3)
    await service.submit("paused")
    await service.saved("paused", attempt=1, step=3)
    await service.command("paused", "pause")
    await service.platform.wait_for_phase("paused", "Paused", SECONDS)
    await wait_until(lambda: not service.engine.machine.living(), SECONDS, "the trainer's end")

    service.engine.machine.halt_after(STEPS + 1)
    await service.command("paused", "resume")
    state, weights = await service.completed("paused")

    assert (state.promoted, state.retry_count) == (2, 0)
    assert service.steps("paused") == {1: [1, 2, 3, 4], 2: [5, 6, 7, 8]}, "a step is done before the end is obeyed"
    assert same(weights, undisturbed)


def same(some: Weights, others: Weights) -> bool:
    """Return whether weights are equal to the last bit."""
    return some.keys() == others.keys() and all(np.array_equal(some[name], others[name]) for name in others)
