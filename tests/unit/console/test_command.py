"""``worker console`` as a process: what it needs, where it is served, how it ends."""

import asyncio
import os
import signal
import socket
from hashlib import sha256
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from tests.wait import wait_until
from worker.cli import app
from worker.commands import console
from worker.console.access import Access
from worker.console.serve import CannotServe, serve
from worker.console.settings import ConsoleSettings
from worker.settings import Settings

STATIC = Path(__file__).parents[3] / "worker" / "console" / "static"


def test_without_its_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "find_spec", lambda _: None)
    result = CliRunner().invoke(app, ["console"])
    assert (result.exit_code, "pip install 'finetune-worker[console]'" in result.stderr) == (2, True)


def test_htmx_is_the_published_file() -> None:
    body = (STATIC / "htmx-2.0.11.min.js").read_bytes()
    assert sha256(body).hexdigest() == "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()


async def test_it_serves_without_a_broker_and_ends_in_order_with_pages_open(tmp_path: Path) -> None:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri())
    own = ConsoleSettings(port=0)
    access, told = Access(own), list[str]()
    serving = asyncio.create_task(serve(settings, own, access, told.append))
    await wait_until(lambda: told or serving.done())
    async with httpx2.AsyncClient(base_url=told[0], headers={"Origin": told[0]}) as browser:
        assert "/static/console.css" in (await browser.get("/sign-in")).text
        assert (await browser.get("/static/console.css")).status_code == 200
        assert (await browser.post("/sign-in", data={"token": access.made or ""})).status_code == 303
        assert "Still reading" in (await browser.get("/tasks")).text
        assert 'id="training_type"' in (await browser.get("/tasks/new")).text
        async with browser.stream("GET", "/live") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            os.kill(os.getpid(), signal.SIGTERM)
            async with asyncio.timeout(60):
                await serving


async def test_a_port_that_is_taken_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", storage_url=(tmp_path / "bucket").as_uri())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = ConsoleSettings(port=taken.getsockname()[1])
        with pytest.raises(CannotServe, match=rf":{own.port} cannot be served on: .*in use; set CONSOLE_PORT"):
            await serve(settings, own, Access(own), lambda _: None)
    assert caplog.messages == []
