"""Every page of the console for people with a keyboard, a screen reader, a phone, at night: asked of axe, in Chromium.

What was seen is left in ``.artefacts/console/pages/``. Needs Chromium (``make browser``).
"""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.chromium import page_of, upload
from tests.fakes.console import quote
from tests.fakes.console_scene import FAULTY, PAGES, rejected, scene

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ARTEFACTS = Path(__file__).parents[2] / ".artefacts" / "console" / "pages"
#: The rules of WCAG 2.2 up to AA, contrast among them, and what else axe holds for good practice.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


async def _is_for_everybody(page: Page, name: str) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
    found = (await Axe().run(page, options=RULES)).response["violations"]
    said = [(each["id"], each["help"], [node["html"][:160] for node in each["nodes"]]) for each in found]
    assert said == [], name
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its screen"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("desk", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light", "locale": "en-US"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "locale": "zh-CN"}),
    ],
)
async def test_every_page_is_for_everybody_at_a_desk_by_day_and_on_a_phone_at_night(
    name: str, options: dict[str, Any]
) -> None:
    console = scene()
    async with page_of(console, **options) as page:
        for path in PAGES:
            await page.goto(path)
            await _is_for_everybody(page, f"{name}{path.replace('/', '-')}")
        await page.goto("/models/m-1")
        await page.locator("button[hx-get$=verified]").click()
        await page.locator("#verified p").wait_for()
        await _is_for_everybody(page, f"{name}-verified")
        await page.goto("/operators/replay")
        await page.locator("#replay-form button").first.click()
        await page.wait_for_selector("#replayed h2")
        await _is_for_everybody(page, f"{name}-replayed")
        await _filled_in(page, console)
        await _is_for_everybody(page, f"{name}-form")
        await page.context.clear_cookies()
        await page.goto("/sign-in")
        await _is_for_everybody(page, f"{name}-sign-in")


async def _filled_in(page: Page, console: Any) -> None:
    """Bring the form to where it shows all that it can: findings, an excerpt, a fee, faults, every choice."""
    await page.goto("/tasks/new")
    task_id = await page.locator("[name=task_id]").get_attribute("value")
    await page.select_option("#validation", "datasets")
    for role in ("training_set", "validation_set"):
        await upload(page, role, "诗.jsonl", FAULTY)
        dataset_id = await page.locator(f"[name={role}]").get_attribute("value")
        console.hear_own()
        rejected(console, dataset_id or "", console.said[-1].data.files[0].uri)
        await page.locator(f"#{role}-list .findings").wait_for()
    await page.locator("#training_set-list .place").first.click()
    await page.locator("#training_set-list mark").wait_for()
    for field, choice in (("tolerance", "ratio"), ("shuffle", "seed"), ("preset", "on")):
        await page.select_option(f"#{field}", choice)
    await page.locator(".submit").click()
    await page.locator("#faults a").first.wait_for()
    # What was asked for with another form is not shown again: the last word is the fee's.
    await expect(page.locator(".htmx-request")).to_have_count(0, timeout=60_000)
    console.hear(
        "cost.estimated", {"task_id": task_id, "dataset_ids": ["d"], "project": "default", "quote": quote(revision=9)}
    )
    await page.locator("#fee .amount").wait_for()


async def test_a_task_is_ordered_and_a_letter_put_back_without_a_mouse() -> None:
    console = scene()
    async with page_of(console) as page:
        await page.goto("/tasks")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")  # skip to the content
        await _tab_to(page, "poems-and-habits")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/tasks/running")
        await _tab_to(page, "Pause")
        await page.keyboard.press("Enter")
        await page.get_by_text("Pause was asked for.").wait_for()
        page.once("dialog", lambda dialog: dialog.accept())
        await _tab_to(page, "Stop")
        await page.keyboard.press("Space")
        await page.get_by_text("Stop was asked for.").wait_for()
        await page.goto("/operators/letters/l-1")
        await _tab_to(page, "Put back")
        await page.keyboard.press("Enter")
        await page.get_by_text("l-1 was put back.").wait_for()
        await page.locator("#settle button").first.wait_for(state="detached")
    assert [said.data.command for said in console.said] == ["pause", "stop"]
    assert console.operations.done == [("retried", "l-1", "operator")]


async def _tab_to(page: Page, text: str) -> None:
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent.trim()") == text:
            return
    raise AssertionError(f"no Tab leads to {text}")
