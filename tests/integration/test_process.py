"""``worker run`` as a process: it starts, drains on SIGTERM, and says clearly what it cannot reach."""

import asyncio
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from tests.integration.conftest import World
from tests.wait import wait_until
from worker.demo.processes import child_environment
from worker.settings import Settings


async def _worker(settings: Settings, log: Path, *arguments: str) -> asyncio.subprocess.Process:
    with log.open("ab") as stream:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", "run", *arguments), stderr=stream, env=child_environment(settings)
        )


def _events(log: Path) -> list[str]:
    return [msgspec.json.decode(line)["event"] for line in log.read_bytes().splitlines()]


async def test_sigterm_drains_and_a_restart_does_nothing_twice(world: World, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    process = await _worker(world.settings, log)
    await wait_until(lambda: "worker.started" in _events(log), 60, "the start")
    await world.import_dataset("d1")
    await world.platform.wait_for("dataset.validated", "d1")
    await world.platform.wait_for("cost.estimated", "d1")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert _events(log)[-1] == "worker.stopped"
    # What was done was committed: the next worker has nothing to say of it again.
    again = await _worker(world.settings, log)
    await world.import_dataset("d2")
    await world.platform.wait_for("cost.estimated", "d2", seconds=60)
    again.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(again.wait(), 60) == 0
    assert len(world.platform.said("dataset.validated", "d1")) == 1
    assert len(world.platform.said("cost.estimated", "d1")) == 1


async def test_a_broker_that_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri(), work_dir=tmp_path
    )
    process = await _worker(settings, tmp_path / "worker.log", "--check")
    assert await asyncio.wait_for(process.wait(), 60) == 2
    lines = capfd.readouterr().out.splitlines()
    (failed,) = [number for number, line in enumerate(lines) if line.startswith("wrong")]
    assert lines[failed] == "wrong      broker: no Kafka broker answers at 127.0.0.1:1"
    assert "start one, or set KAFKA_BOOTSTRAP_SERVERS" in lines[failed + 1]
    assert any(line.startswith("note       bucket") for line in lines)


async def test_a_worker_waits_for_its_broker_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    settings = Settings(
        kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri(), work_dir=tmp_path
    )
    log = tmp_path / "worker.log"
    process = await _worker(settings, log)
    await wait_until(lambda: _events(log).count("broker.unreachable") >= 2, 60, "two tries")
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    assert set(_events(log)) == {"broker.unreachable"}
