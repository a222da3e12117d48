"""The console in a real browser, over the embedded broker, a directory bucket and a real trainer: the whole journey.

Needs Debian's Chromium (``make browser``) and the extras ``console``, ``embedded`` and ``trainer``. What it saw is left
in ``.artefacts/console/``, to be looked at.
"""

import asyncio
import contextlib
import hashlib
import sys
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests import chromium
from worker import tied_process
from worker.demo.processes import SupervisedWorker, child_environment, run_to_end
from worker.executors.local import local_executor
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings

pytestmark = [pytest.mark.long, pytest.mark.trainer, pytest.mark.timeout(900)]

ARTEFACTS = Path(__file__).parents[2] / ".artefacts" / "console"
DATASET = Path(__file__).parents[2] / "worker" / "demo" / "dataset.jsonl"
FAULTY = '{"messages": [{"role": "usr", "content": "孤灯照不寐"}, {"role": "assistant", "content": "b"}]}\n'
TOKEN = "a-token-for-the-journey"
#: A busy machine trains a tiny model, and starts torch, in minutes.
PATIENCE_MS = 300_000


def _settings(folder: Path, servers: str) -> Settings:
    return Settings(
        kafka_bootstrap_servers=servers,
        session_timeout_seconds=3.0,
        storage_url=(folder / "bucket").as_uri(),
        work_dir=folder,
        reconcile_seconds=1.0,
        lost_job_seconds=20.0,
        heartbeat_seconds=1.0,
        progress_seconds=1.0,
    )


@asynccontextmanager
async def _console(settings: Settings) -> AsyncIterator[str]:
    """Run ``worker console`` and return its address; it must end in order when it is told to."""
    process = await asyncio.create_subprocess_exec(
        *tied_process.tie(),
        *(sys.executable, "-m", "worker", "console"),
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(settings) | {"CONSOLE_PORT": "0", "CONSOLE_TOKEN": TOKEN},
    )
    assert process.stderr
    drained: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(120):
            while b"http://" not in (line := await process.stderr.readline()):
                assert line, "the console ended at its start"
        drained = asyncio.create_task(process.stderr.read())
        yield line.decode().split()[-1]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(60):
            code = await process.wait()
        if drained is not None:
            await drained
    assert code == 0


@asynccontextmanager
async def _platform(folder: Path) -> AsyncIterator[str]:
    """Run all there is, each in processes of its own, and return the console's address."""
    async with EmbeddedBroker() as servers:
        settings = _settings(folder, servers)
        await ensure_topics(Brokers.of(settings))
        await run_to_end(settings, "worker.trainer.base_models", "tiny")
        try:
            async with SupervisedWorker(settings, folder / "worker.log", lambda _: None), _console(settings) as address:
                yield address
        finally:
            executor = local_executor(settings)
            await executor.kill_all()
            await executor.close()


async def _signed_in(browser: Browser, address: str, **options: Any) -> Page:
    return await chromium.signed_in(browser, address, TOKEN, patience_ms=PATIENCE_MS, **options)


async def _shot(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)


async def _fault_is_found_and_led_to(page: Page) -> None:
    await chromium.upload(page, "training_set", "faulty.jsonl", DATASET.read_bytes() + FAULTY.encode())
    await page.get_by_role("button", name="/messages/0/role").click()
    assert await page.locator(".excerpt mark").inner_text() == '"usr"'
    await _shot(page, "findings")
    await page.get_by_role("button", name="Remove").click()


async def _fee_appears(page: Page) -> None:
    """The fee comes about five seconds after the import, into a page that was not loaded again."""
    await page.evaluate("window.same = true")
    await page.wait_for_selector("#fee .help")
    await chromium.upload(page, "training_set", "poems.jsonl", DATASET.read_bytes())
    imported = time.monotonic()
    await page.wait_for_selector("#fee .amount strong")
    # Never before its time; how long after depends on the machine, and the demo's own test says how long at most.
    assert time.monotonic() - imported > 3.5
    assert await page.evaluate("window.same")
    await _shot(page, "fee")


async def _downloaded(page: Page, folder: Path) -> None:
    """What is downloaded is what the checksums say."""
    await page.get_by_role("link", name="Files and download").first.click()
    sums = await (await page.request.get(page.url + "/SHA256SUMS")).text()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Download all (tar)").click()
    archive = folder / "model.tar"
    await (await download.value).save_as(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "model", filter="data")
    listed = dict(line.split("  ")[::-1] for line in sums.splitlines())
    (model,) = (folder / "model").iterdir()
    found = {
        str(path.relative_to(model)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in model.rglob("*")
        if path.is_file()
    }
    assert found == listed
    assert any(name.endswith(".safetensors") for name in found)
    await _shot(page, "model")


async def _operators_pages(page: Page) -> None:
    await page.goto("/operators/letters")
    await page.get_by_text("There are no open dead letters.").wait_for()
    await page.goto("/operators/replay")
    await page.select_option("#topic", "dataset.imported")
    await page.get_by_role("button", name="Dry run").click()
    await page.wait_for_selector("#replayed h2")
    assert "dataset-validation" in await page.inner_text("#replayed")
    await _shot(page, "replay")


async def _looks(browser: Browser, address: str, task: str) -> None:
    """Nothing is wider than the screen, on a phone and on a desk, in either language and light."""
    for name, width, scheme, locale in [("phone", 390, "dark", "zh-CN"), ("desk", 1280, "light", "zh-CN")]:
        page = await _signed_in(
            browser, address, viewport={"width": width, "height": 844}, color_scheme=scheme, locale=locale
        )
        for path in ("/tasks", "/tasks/new", task, "/operators/replay"):
            await page.goto(path)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, path)
            await _shot(page, f"{name}-{scheme}-{path.split('/')[1]}-{path.split('/')[-1][:6]}")
        assert await page.get_attribute("html", "lang") == "zh"
        await page.context.close()


async def test_from_import_to_downloaded_model_in_chromium_with_embedded_broker_and_trainer(tmp_path: Path) -> None:
    async with _platform(tmp_path) as address, chromium.browser() as browser:
        page = await _signed_in(browser, address, viewport={"width": 1280, "height": 900}, locale="en-US")
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        await page.goto("/tasks/new")
        await page.select_option("#training_type", "FinetuneSft")
        await page.locator("#hp\\.lora_rank").wait_for(state="detached")
        await page.select_option("#base_model", "tiny@1")
        await page.locator("#hp\\.epochs[placeholder='12']").wait_for()
        await _fault_is_found_and_led_to(page)
        await _fee_appears(page)
        await page.get_by_role("button", name="Submit the task").click()
        await page.wait_for_selector("#faults a[data-field=name]")
        await page.locator("#faults a[data-field=name]").click()
        await page.keyboard.type("poems-and-habits")
        await page.get_by_role("button", name="Submit the task").click()
        await page.wait_for_url("**/tasks/task-*")
        await page.wait_for_selector(".phase-Running")
        await page.wait_for_selector("svg.curve polyline")
        await _shot(page, "running")
        await page.wait_for_selector(".phase-Completed")
        await page.get_by_role("link", name="Files and download").first.wait_for()
        await page.get_by_text("The story").click()
        await page.get_by_text("training-dispatch").first.wait_for()
        await _shot(page, "completed")
        task = "/tasks/" + page.url.rpartition("/")[2]
        await _downloaded(page, tmp_path)
        await _operators_pages(page)
        await _looks(browser, address, task)
    assert broken == []
