"""A trainer's events while Kafka is down, and without any Kafka: real processes, and nothing is trained twice."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from contracts import event_file
from contracts.envelope import derived_id
from contracts.training import TrainingProgress
from deploy.local.kafka import ApacheKafka
from handlers import layout, task_state
from handlers.task_state import TaskState
from tests import kafka_servers
from tests.e2e.chaos.stand_in import STEPS
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.integration import halting_trainer
from tests.integration.conftest import World
from tests.platform import form, platform
from tests.sweeps import outlasted
from tests.wait import wait_until
from worker.executors.local import LocalExecutor
from worker.kafka.broker import Brokers
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store

TRAINER = (sys.executable, "-m", "tests.integration.halting_trainer")
#: Nobody listens there.
NOWHERE = "127.0.0.1:9"


class Training:
    """A task in training by a real process."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._until = folder / "until"
        self.go_on(until=1)
        environment = world.settings.to_environment() | {halting_trainer.VARIABLE: str(self._until)}
        if world.settings.trainer_events == "bucket":
            environment["WORKER_KAFKA_BOOTSTRAP_SERVERS"] = NOWHERE
        self.executor = LocalExecutor(folder / "work", 1, TRAINER, environment)

    def go_on(self, until: int = STEPS + 1) -> None:
        """Let the trainer go on until a step is done, or to the end."""
        draft = self._until.with_suffix(".draft")
        draft.write_text(str(until))
        draft.replace(self._until)

    async def begin(self) -> None:
        """Import a dataset and submit a task."""
        await self.world.import_dataset("d1")
        await self.world.platform.publish("task.created", "t1", form("t1", "d1"))

    async def state(self) -> TaskState:
        state = await task_state.read(self.world.store, "t1")
        assert state is not None
        return state

    def said(self, attempt: int = 1) -> dict[int, str]:
        """Return the ids of what an attempt said, as the platform saw it on the topic, by seq."""
        events = self.world.platform.said("training.progress", "t1")
        return {event.data.seq: event.id for event in events if event.data.attempt == attempt}

    async def keys(self, prefix: str) -> list[str]:
        return [info.key async for info in self.world.store.list(prefix)]

    async def in_outbox(self) -> list[TrainingProgress]:
        """Return what waits in the bucket."""
        bodies = [await self.world.store.get(key) for key in await self.keys(layout.outbox())]
        return [event.data for stored in bodies if stored for event in event_file.read(stored.body)]

    def kill(self) -> None:
        """Kill the trainer with -9."""
        pids = [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and _is_trainer(path, str(self._until.parent))
        ]
        assert len(pids) == 1
        os.kill(pids[0], signal.SIGKILL)

    async def completed(self, attempt: int) -> None:
        """Wait for the end, and assert what must be true then."""
        await self.world.platform.wait_for_phase("t1", "Completed", 90)
        state = await self.state()
        assert (state.promoted, state.attempt) == (attempt, attempt)
        assert {event.data.attempt for event in self.world.platform.said("model.exported")} == {attempt}
        runs = [key.split("/")[2] for key in await self.keys("runs/t1/")]
        assert runs == [str(number) for number in range(1, attempt + 1)], "one process an attempt"

        async def empty() -> bool:
            return not await self.keys(layout.outbox())

        await wait_until(empty, 60, "the outbox to be empty")


def _is_trainer(process: Path, folder: str) -> bool:
    try:
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    words = command.decode(errors="replace").split("\0")
    return words[1:3] == list(TRAINER[1:]) and folder in words[-2]


@asynccontextmanager
async def _training(world: World, folder: Path) -> AsyncIterator[Training]:
    training = Training(world, folder)
    try:
        async with world.worker(executors=FakeExecutors(training.executor)):
            await training.begin()
            yield training
    finally:
        await training.executor.kill_all()
        await training.executor.close()


# --- Kafka is down -------------------------------------------------------------------------------------------

_needs_kafka = pytest.mark.skipif(
    not kafka_servers.process_possible(), reason="only a broker of our own can be stopped; that needs Java and Maven"
)


@pytest.fixture
async def kafka() -> AsyncIterator[ApacheKafka]:
    """A broker that may be stopped and started."""
    broker = ApacheKafka()
    async with broker:
        yield broker


@pytest.fixture
async def training(kafka: ApacheKafka, tmp_path: Path) -> AsyncIterator[Training]:
    """A task whose trainer waits after its first step."""
    servers = kafka.address()
    await ensure_topics(Brokers(servers))
    settings = Settings(
        kafka_bootstrap_servers=servers,
        storage_url=(tmp_path / "bucket").as_uri(),
        work_dir=tmp_path / "work",
        session_timeout_seconds=6.0,
        estimate_delay_seconds=1.0,
        reconcile_seconds=0.2,
        lost_job_seconds=1.0,
        lease_seconds=3.0,
        drain_seconds=5.0,
        heartbeat_seconds=0.2,
        progress_seconds=0.2,
    )
    async with open_store(settings) as store, platform(servers) as seen:
        world = World(seen, store, settings, FakeExecutor())
        async with _training(world, tmp_path) as begun:
            await seen.wait_for_phase("t1", "Running", 60)
            yield begun


@_needs_kafka
async def test_kafka_is_down_from_the_middle_to_after_the_trainer_s_end(kafka: ApacheKafka, training: Training) -> None:
    await kafka.stop()
    training.go_on()

    async def ended() -> bool:
        return (await training.executor.status("t1", 1)).state == "ended"

    await wait_until(ended, 60, "the trainer's end")
    assert (await training.executor.status("t1", 1)).exit_code == 0
    assert (await training.in_outbox())[-1].state == "succeeded"
    await outlasted(training.world.store)
    assert (await training.state()).attempt == 1, "its silence is Kafka's"
    await kafka.start()
    await training.completed(attempt=1)
    said = training.said()
    assert said == {seq: derived_id("trainer", "t1", 1, seq) for seq in range(len(said))}
    # One for the beginning, one a step, and one for the end.
    assert len(said) == STEPS + 2


@_needs_kafka
async def test_a_trainer_killed_while_kafka_is_down_is_gone_on_from_its_last_checkpoint(
    kafka: ApacheKafka, training: Training
) -> None:
    await kafka.stop()
    training.go_on(until=4)

    async def four_steps() -> bool:
        return any(said.checkpoint and said.checkpoint.step == 4 for said in await training.in_outbox())

    await wait_until(four_steps, 60, "the fourth checkpoint's event in the bucket")
    training.kill()
    training.go_on()
    await outlasted(training.world.store)
    assert (await training.state()).attempt == 1, "what it said is on its way"
    await kafka.start()
    await training.completed(attempt=2)
    spec = await training.world.store.get(layout.attempt("t1", 2) + "spec.json")
    assert spec is not None
    assert msgspec.json.decode(spec.body)["resume_from"] == layout.attempt("t1", 1) + "checkpoints/step-4/"


# --- no Kafka for trainers -----------------------------------------------------------------------------------


async def test_a_trainer_without_kafka_is_heard_over_the_bucket(world: World, tmp_path: Path) -> None:
    settings = replace(world.settings, trainer_events="bucket", heartbeat_seconds=0.2)
    async with _training(world._replace(settings=settings), tmp_path) as training:
        await world.platform.wait_for_phase("t1", "Running", 60)
        training.go_on()
        await training.completed(attempt=1)
        assert training.said() == {seq: derived_id("trainer", "t1", 1, seq) for seq in range(STEPS + 2)}
        assert world.platform.letters == []
