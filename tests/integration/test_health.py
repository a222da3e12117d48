"""What a worker answers to who asks how it is: over HTTP, with a broker that goes and a consumer that hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from deploy.local.kafka import ApacheKafka
from deploy.local.server_process import free_ports
from handlers.table import STAGES
from tests import kafka_servers
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.tokens import FakeTokenCounter
from tests.integration.conftest import World
from tests.wait import wait_until
from worker import health as health_module
from worker.app import run_worker
from worker.delivery import standing
from worker.delivery.intake import Intake
from worker.settings import Settings, SettingsError


class Asked:
    """What /live and /ready of a worker say."""

    def __init__(self, session: aiohttp.ClientSession, port: int, worker: asyncio.Task[None]) -> None:
        self._session, self.port, self._worker = session, port, worker
        self.report: dict[str, Any] = {}

    async def says(self, path: str) -> int:
        """Return the status of a path, 0 where nobody answers; keep the report."""
        try:
            async with self._session.get(f"http://127.0.0.1:{self.port}/{path}") as response:
                self.report = await response.json()
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    async def until(self, path: str, status: int, seconds: float = 60) -> None:
        async def there() -> bool:
            if self._worker.done():
                self._worker.result()
            return await self.says(path) == status

        await wait_until(there, seconds, f"{status} from {path}")

    def states(self) -> dict[str, str]:
        return {name: stage["state"] for name, stage in self.report["stages"].items()}


@asynccontextmanager
async def _asked(settings: Settings) -> AsyncIterator[Asked]:
    """Run a worker that can be asked."""
    (port,) = free_ports(1)
    stopping = asyncio.Event()
    ports = {"executors": FakeExecutors(FakeExecutor()), "tokens": FakeTokenCounter()}
    settings = msgspec.structs.replace(settings, health_port=port)
    worker = asyncio.create_task(run_worker(settings, stopping=stopping, ports=ports))
    try:
        async with aiohttp.ClientSession() as session:
            yield Asked(session, port, worker)
    finally:
        stopping.set()
        await worker


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_LOOK_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(health_module, "_LOOK_SECONDS", 1.0)


async def test_a_worker_is_ready_once_it_has_joined_and_its_stages_are_idle(world: World) -> None:
    async with _asked(world.settings) as asked:
        await asked.until("ready", 200)

        async def all_seen() -> bool:
            await asked.says("ready")
            return asked.states() == {stage.name: "idle" for stage in STAGES}

        await wait_until(all_seen, 60, "every stage to be idle")
        assert await asked.says("live") == 200


async def test_a_stage_whose_consumer_hangs_is_stuck_and_the_others_are_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "TAKING_SECONDS", 0.5)
    take_batch, let_go = Intake._take_batch, asyncio.Event()

    async def hang(self: Intake, message: Any) -> None:
        if self.stage.name == "dataset-validation":
            await let_go.wait()
        await take_batch(self, message)

    monkeypatch.setattr(Intake, "_take_batch", hang)
    async with _asked(world.settings) as asked:
        await asked.until("ready", 200)
        for number in range(20):
            await world.import_dataset(f"d{number}")

        async def found_out() -> bool:
            # One more at a time: the batch that hangs may be all there was.
            await world.import_dataset("one-more")
            return await asked.says("live") == 503

        await wait_until(found_out, 60, "503 from live")
        assert await asked.says("ready") == 503
        assert asked.states() | {"dataset-validation": "stuck"} == asked.states()
        assert [name for name, state in asked.states().items() if state == "stuck"] == ["dataset-validation"]
        assert "restart this worker" in asked.report["stages"]["dataset-validation"]["trouble"]
        let_go.set()


@pytest.mark.skipif(not kafka_servers.process_possible(), reason="Java and Maven run Apache Kafka")
async def test_a_broker_that_goes_makes_it_unready_and_coming_back_makes_it_ready(tmp_path: Path) -> None:
    kafka = ApacheKafka()
    async with kafka as servers:
        settings = Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(tmp_path / "bucket").as_uri(),
            work_dir=tmp_path,
            session_timeout_seconds=3.0,
            drain_seconds=2.0,
        )
        async with _asked(settings) as asked:
            await asked.until("ready", 200)
            await kafka.kill()
            await asked.until("ready", 503)
            assert set(asked.states().values()) == {"unreachable"} | set(asked.states().values())
            assert await asked.says("live") == 200
            await kafka.start()
            await asked.until("ready", 200)


async def test_before_the_broker_is_there_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    settings = Settings(
        kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri(), work_dir=tmp_path
    )
    async with _asked(settings) as asked:
        await asked.until("live", 200)
        assert await asked.says("ready") == 503
        assert asked.report["phase"] == "starting"


async def test_a_port_that_is_taken_is_said_with_its_variable(tmp_path: Path) -> None:
    settings = Settings(
        kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri(), work_dir=tmp_path
    )
    async with _asked(settings) as asked:
        await asked.until("live", 200)
        taken = msgspec.structs.replace(settings, health_port=asked.port)
        with pytest.raises(SettingsError, match="WORKER_HEALTH_PORT"):
            await run_worker(taken, stopping=asyncio.Event())
