"""``worker run``: what an operator got wrong is one line and exit code 2, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import InvalidSessionTimeoutError
from structlog.testing import capture_logs
from typer.testing import CliRunner

from handlers.errors import Unavailable
from worker import app as composition
from worker.cli import app
from worker.kafka.topics import TopicCreationError
from worker.settings import Settings, SettingsError
from worker.storage import open_store


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return subprocess.run(
        [sys.executable, "-m", "worker", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"} | variables,
    )


def test_a_setting_that_cannot_be_used_is_one_line() -> None:
    run = _run(WORKER_LOG_LEVEL="trace", WORKER_CONCURRENCY="abc")
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "WORKER_LOG_LEVEL must be one of" in line
    assert "WORKER_CONCURRENCY must be a whole number" in line


def test_a_stage_that_does_not_exist_is_said_also_by_a_check() -> None:
    result = CliRunner().invoke(app, ["run", "--check", "--stage", "bogus"])
    assert result.exit_code == 2
    assert "no stage bogus" in result.stderr


@pytest.mark.parametrize("error", [TopicCreationError("task.created: refused"), Unavailable("no bucket")])
def test_what_the_start_runs_into_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(composition, "run_worker", fails)
    monkeypatch.setattr("worker.telemetry.configure_logging", lambda *_: None)
    result = CliRunner().invoke(app, ["run"])
    assert (result.exit_code, result.stderr) == (2, f"worker run: {error}\n")


def test_a_bug_that_ends_it_is_one_line_and_its_traceback_is_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(*_: Any, **__: Any) -> None:
        raise KeyError("planted")

    monkeypatch.setattr(composition, "run_worker", breaks)
    monkeypatch.setattr("worker.telemetry.configure_logging", lambda *_: None)
    with capture_logs() as logs:
        result = CliRunner().invoke(app, ["run"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    (crash,) = [line for line in logs if line["event"] == "worker.crashed"]
    assert (crash["log_level"], crash["exc_info"]) == ("critical", True)


async def test_a_session_timeout_the_broker_refuses_names_its_variable() -> None:
    class Refusing:
        async def start(self) -> None:
            raise InvalidSessionTimeoutError

    with pytest.raises(SettingsError, match=r"^WORKER_SESSION_TIMEOUT_SECONDS is 1800"):
        await composition._join([Refusing()], Settings(session_timeout_seconds=1800))  # type: ignore[list-item]  # refuses as Kafka


async def test_a_bucket_that_cannot_be_made_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SettingsError, match=r"^WORKER_STORAGE_URL is file://.*Not a directory"):
        async with open_store(Settings(storage_url=(tmp_path / "file" / "b").as_uri())):
            pass
