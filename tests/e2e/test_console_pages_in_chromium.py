"""What the console's pages do in a real browser, over events that the test says. Needs Chromium (``make browser``)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import uvicorn
from playwright.async_api import Page, async_playwright

from contracts.dataset import CheckedFile
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.validation.report import Report
from tests.e2e.test_console_in_chromium import _chromium
from tests.fakes.console import TOKEN, ConsoleUnderTest, form, progress, status, verdict
from tests.fakes.store import etag_of
from tests.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SAMPLE = b'{"messages": [{"role": "usr", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


@asynccontextmanager
async def _page(console: ConsoleUnderTest) -> AsyncIterator[Page]:
    """Serve a console, and sign in to it in a browser."""
    server = uvicorn.Server(uvicorn.Config(console.app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=_chromium(), args=["--no-sandbox"])
            context = await browser.new_context(base_url=f"http://127.0.0.1:{port}", locale="en-US")
            page = await context.new_page()
            page.set_default_timeout(60_000)
            await page.goto("/tasks")
            await page.fill("#token", TOKEN)
            await page.keyboard.press("Enter")
            await page.wait_for_selector("nav")
            yield page
            await browser.close()
    finally:
        console.view.changes.close()
        server.should_exit = True
        await serving


async def test_the_last_of_a_burst_is_what_a_page_shows_and_the_focus_stays_where_it_is() -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Running", 1))
    async with _page(console) as page:
        await page.goto("/tasks/t-1")
        await page.focus("#command-pause")
        console.hear("task.created", form("t-1"))
        for step in range(1, 30):
            console.hear("training.progress", progress("t-1", step, 3.0 / step))
            console.hear("task.status", status("t-1", "Running", 1 + step, progress={"step": step, "total_steps": 30}))
            await asyncio.sleep(0.05)  # as a trainer would: events keep coming while the page asks
        await page.get_by_text("step 29 of 30").wait_for()
        assert await page.inner_text("h1") == "poems"
        assert await page.evaluate("document.activeElement.id") == "command-pause"
        console.hear("task.status", status("t-1", "Completing", 40))
        console.hear("task.status", status("t-1", "Completed", 41))
        await page.wait_for_selector(".phase-Completed")


async def test_a_verdict_comes_into_the_form_and_an_open_excerpt_outlives_the_next() -> None:
    console = ConsoleUnderTest()
    async with _page(console) as page:
        await page.goto("/tasks/new")
        await page.set_input_files("#training_set-files", {"name": "a.jsonl", "mimeType": "x/y", "buffer": SAMPLE})
        await page.get_by_role("group", name="Training set").get_by_role("button", name="Upload").click()
        dataset_id = await page.locator("[name=training_set]").get_attribute("value")
        assert dataset_id
        (said,) = console.said
        key = console.store.key(said.data.files[0].uri)
        file = CheckedFile(uri=console.store.uri(key), etag=etag_of(SAMPLE), size_bytes=len(SAMPLE), sha256="0" * 64)
        found = Finding(line=1, pointer="/messages/0/role", code="unknown-role", severity="error", message="'usr'")
        totals = {"unknown-role": 1}
        report = Report(
            digest="d" * 64, format="sft", files=(file,), samples=1, valid_samples=0, totals=totals, findings=(found,)
        )
        console.store.objects[layout.dataset_report(dataset_id, "d" * 64)] = msgspec.json.encode(report)
        said_of_it = verdict(dataset_id, totals=totals, valid_samples=0, samples=1, files=[msgspec.to_builtins(file)])
        rejected = said_of_it | {"reason": "invalid-samples", "message": "1 of 1"}
        console.hear_own()
        console.hear("dataset.rejected", rejected)
        await page.get_by_role("button", name="/messages/0/role").click()
        assert await page.locator(".excerpt mark").inner_text() == '"usr"'
        await page.locator("#fee").get_by_text("a dataset was rejected").wait_for()
        # Another parameter is another import of the same bytes, with the same verdict again.
        console.hear("dataset.rejected", rejected | {"imported_at": "2027-01-01T00:00:00Z", "samples": 2})
        await page.get_by_text("0 of 2 samples").wait_for()
        assert await page.locator(".excerpt mark").inner_text() == '"usr"'


async def test_a_lost_stream_is_said_and_catches_up() -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Queued", 1))
    async with _page(console) as page:
        await page.goto("/tasks/t-1")
        await page.wait_for_selector(".phase-Queued")
        console.view.changes.close()  # the stream ends, as with a console that is started again
        await page.wait_for_selector("#disconnected:not([hidden])")
        console.hear("task.status", status("t-1", "Running", 2))
        console.view.changes.closed = False
        await page.wait_for_selector(".phase-Running")
        await page.wait_for_selector("#disconnected", state="hidden")


async def test_the_parameters_are_those_of_the_model_that_is_chosen_however_fast() -> None:
    async with _page(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        for training_type in ("FinetuneSft", "FinetuneLoRA"):
            await page.select_option("#training_type", training_type)
            await page.locator("#hp\\.lora_rank").wait_for(state="attached" if "LoRA" in training_type else "detached")
            await page.select_option("#base_model", "tiny@1")
            await page.locator("#hp\\.epochs[placeholder='12']").wait_for()
