"""``worker run --check``: what cannot be used is said, and nothing is created."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from msgspec.structs import replace

from handlers.table import STAGES
from worker.broker import Brokers, connected
from worker.checks import check_services
from worker.delivery import later
from worker.embedded_broker import EmbeddedBroker
from worker.settings import Settings
from worker.topics import ensure_topics


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    async with EmbeddedBroker() as servers:
        yield Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(tmp_path / "bucket").as_uri(),
            work_dir=tmp_path / "work",
        )


def _lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the mark of each line by what it is about."""
    return {line[5:].partition(":")[0]: line[:4].strip() for line in capsys.readouterr().err.splitlines()}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_on_a_fresh_machine_it_says_what_is_missing_and_creates_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await check_services(settings) == 0
    assert _lines(capsys) == {
        "broker": "note",
        "bucket": "note",
        "catalogue": "ok",
        "executors": "ok",
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
    assert await check_services(settings) == 0
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
    assert await check_services(broken) == 2
    assert set(_lines(capsys).values()) == {"FAIL"}


async def test_a_misspelt_variable_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_STORAGE_ULR", "file:///x")
    assert await check_services(settings) == 0
    assert "did you mean WORKER_STORAGE_URL?" in capsys.readouterr().err
