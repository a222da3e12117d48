"""``worker run --check``: what a start needs, as ``worker doctor`` sees it; and nothing is created."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from msgspec.structs import replace

from handlers.table import STAGES
from worker.commands.run import check_start
from worker.delivery import later
from worker.kafka.broker import Brokers, connected
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async with EmbeddedBroker() as servers:
        yield Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(tmp_path / "bucket").as_uri(),
            work_dir=tmp_path / "work",
        )


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the mark of each line by what it is about."""
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    return {line[11:].partition(":")[0]: line[:11].strip() for line in lines}


async def test_on_a_fresh_machine_it_says_what_is_missing_and_creates_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await check_start(settings) == 0
    assert _lines(capsys) == {
        "settings": "ok",
        "broker": "ok",
        "bucket": "note",
        "catalogue": "ok",
        "executor local": "ok",
        "work folder": "note",
    }
    assert _names(tmp_path) == []
    async with connected(AIOKafkaAdminClient, Brokers.of(settings)) as admin:
        assert list(await admin.list_topics()) == []


async def test_what_is_there_is_ok_and_left_as_it_was(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await ensure_topics(Brokers.of(settings), delays=later.names(STAGES))
    for folder in ("bucket", "work"):
        (tmp_path / folder).mkdir()
    assert await check_start(settings) == 0
    assert set(_lines(capsys).values()) == {"ok"}
    assert not (tmp_path / "bucket" / "checks").exists()


async def test_everything_that_cannot_be_used_is_said_at_once(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = replace(
        settings,
        kafka_bootstrap_servers="127.0.0.1:1",
        storage_url=(tmp_path / "file" / "bucket").as_uri(),
        models_file=tmp_path / "no.toml",
        executors_file=tmp_path / "no.toml",
        work_dir=tmp_path / "file",
    )
    assert await check_start(broken) == 2
    lines = _lines(capsys)
    assert lines.pop("settings") == "ok"
    assert set(lines.values()) == {"wrong"}
