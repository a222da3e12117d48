"""``worker bucket create`` on every kind of bucket."""

import asyncio
from uuid import uuid4

import msgspec
import pytest
from typer.testing import CliRunner

from worker.cli import app
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.make_bucket import make_bucket


@pytest.fixture
def missing(settings: Settings) -> Settings:
    """Settings that name a bucket nobody has made."""
    url = settings.storage_url
    elsewhere = f"s3://test-{uuid4().hex}/some/prefix" if url.startswith("s3:") else f"{url}-{uuid4().hex}"
    return msgspec.structs.replace(settings, storage_url=elsewhere)


async def test_it_is_made_once_and_can_be_used(missing: Settings) -> None:
    assert await make_bucket(missing)
    assert not await make_bucket(missing)
    async with open_store(missing) as store:
        await store.put("key", b"body")
        assert await make_bucket(missing) is False
        found = await store.get("key")
    assert found is not None
    assert found.body == b"body"


async def test_several_who_make_it_at_once_all_succeed(missing: Settings) -> None:
    made = await asyncio.gather(*(make_bucket(missing) for _ in range(8)))
    assert any(made)
    assert not await make_bucket(missing)


def test_the_command_says_what_it_did(missing: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in missing.to_environment().items():
        monkeypatch.setenv(variable, value)
    first = CliRunner().invoke(app, ["bucket", "create", "--json"])
    assert (first.exit_code, msgspec.json.decode(first.stdout)) == (0, {"bucket": missing.storage_url, "created": True})
    second = CliRunner().invoke(app, ["bucket", "create"])
    assert (second.exit_code, second.stderr) == (0, f"{missing.storage_url} is there\n")


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in {
        "WORKER_STORAGE_URL": "s3://worker",
        "WORKER_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(variable, value)
    result = CliRunner().invoke(app, ["bucket", "create"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("worker bucket create: ")
