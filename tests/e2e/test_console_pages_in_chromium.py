"""What the console's pages do in a real browser, over events that the test says. Needs Chromium (``make browser``)."""

import asyncio

import msgspec
import pytest

from tests.chromium import page_of, upload
from tests.fakes.console import ConsoleUnderTest, form, progress, status, verdict
from tests.fakes.console_scene import FAULTY, rejected

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


async def test_the_last_of_a_burst_is_what_a_page_shows_and_the_focus_stays_where_it_is() -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Running", 1))
    async with page_of(console) as page:
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
    async with page_of(console) as page:
        await page.goto("/tasks/new")
        await upload(page, "training_set", "a.jsonl", FAULTY)
        dataset_id = await page.locator("[name=training_set]").get_attribute("value")
        assert dataset_id
        (said,) = console.said
        console.hear_own()
        rejected(console, dataset_id, said.data.files[0].uri)
        await page.get_by_role("button", name="/messages/0/role").click()
        assert await page.locator(".excerpt mark").inner_text() == '"usr"'
        known = console.view.dataset("default", dataset_id)
        assert known
        assert known.verdict
        # Another parameter is another import of the same bytes, with the same verdict again.
        files = msgspec.to_builtins(known.verdict.files)
        again = verdict(dataset_id, files=files, totals={"unknown-role": 1}, valid_samples=0, samples=2)
        console.hear("dataset.rejected", again | {"reason": "x", "message": "x", "imported_at": "2027-01-01T00:00:00Z"})
        await page.get_by_text("0 of 2 samples").wait_for()
        assert await page.locator(".excerpt mark").inner_text() == '"usr"'


async def test_a_lost_stream_is_said_and_catches_up() -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Queued", 1))
    async with page_of(console) as page:
        await page.goto("/tasks/t-1")
        await page.wait_for_selector(".phase-Queued")
        console.view.changes.close()  # the stream ends, as with a console that is started again
        await page.wait_for_selector("#disconnected:not([hidden])")
        console.hear("task.status", status("t-1", "Running", 2))
        console.view.changes.closed = False
        await page.wait_for_selector(".phase-Running")
        await page.wait_for_selector("#disconnected", state="hidden")
