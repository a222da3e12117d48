"""The console's form in a real browser, over events that the test says. Needs Chromium (``make browser``)."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.chromium import page_of, upload
from tests.fakes.console import ConsoleUnderTest, quote
from tests.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

SAMPLE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
#: The default epochs of the tiny model, for FinetuneSft; the form begins with another model, which has 6.
TINY = "#hp\\.epochs[placeholder='12']"


async def _still(page: Page) -> None:
    """Wait until nothing is asked for any more."""
    await expect(page.locator(".htmx-request, .htmx-settling, .htmx-swapping")).to_have_count(0, timeout=60_000)


async def test_a_model_chosen_at_the_very_moment_the_choices_come_is_heard() -> None:
    async with page_of(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        await page.evaluate("""document.body.addEventListener('htmx:afterSwap', () => {
            const model = document.getElementById('base_model');
            model.value = 'tiny@1';
            model.dispatchEvent(new Event('change', {bubbles: true}));
        }, {once: true})""")
        await page.select_option("#training_type", "FinetuneSft")
        await page.locator(TINY).wait_for()
        assert await page.input_value("#base_model") == "tiny@1"


async def test_the_choices_that_come_last_are_those_that_were_made_last() -> None:
    held: list[Route] = []
    first_is_held = asyncio.Event()

    async def hold_the_first(route: Route) -> None:
        if held:
            await route.continue_()
            return
        held.append(route)
        first_is_held.set()

    async with page_of(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        await page.route("**/tasks/new/choices?*", hold_the_first)
        await page.select_option("#training_type", "FinetuneSft")
        await first_is_held.wait()
        await page.select_option("#base_model", "tiny@1")
        await page.locator(TINY).wait_for()
        await held[0].continue_()
        await _still(page)
        assert await page.input_value("#base_model") == "tiny@1"
        assert await page.input_value("#training_type") == "FinetuneSft"
        assert await page.locator(TINY).count() == 1


async def test_a_chosen_model_stays_where_the_next_training_type_has_it() -> None:
    async with page_of(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        await page.select_option("#base_model", "tiny@1")
        await _still(page)
        await page.select_option("#training_type", "FinetuneSft")
        await page.locator("#hp\\.lora_rank").wait_for(state="detached")
        assert await page.input_value("#base_model") == "tiny@1"


async def test_a_page_that_is_loaded_again_or_come_back_to_has_parameters_of_the_model_it_shows() -> None:
    async with page_of(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        begun_with = await page.input_value("#base_model")
        await page.select_option("#base_model", "tiny@1")
        await page.fill("#name", "half-written")
        await _still(page)
        await page.goto("/tasks")
        await page.go_back()
        await page.locator("#hp\\.epochs[placeholder='6']").wait_for()
        assert (await page.input_value("#base_model"), await page.input_value("#name")) == (begun_with, "")


async def _drafted(console: ConsoleUnderTest, **wanted: Any) -> None:
    """Wait until the newest draft says this."""

    def newest_says() -> bool:
        draft = console.said[-1].data.draft or {}
        return all(draft.get(name) == value for name, value in wanted.items())

    await wait_until(newest_says, 60, f"a draft with {wanted}")


async def test_what_changes_the_fee_is_priced_again_and_its_old_quote_is_not_cited() -> None:
    console = ConsoleUnderTest()
    async with page_of(console) as page:
        await page.goto("/tasks/new")
        await upload(page, "training_set", "a.jsonl", SAMPLE)
        dataset_id = await page.locator("[name=training_set]").get_attribute("value")
        console.hear_own()
        task_id = console.said[-1].data.draft["task_id"]
        await page.select_option("#tolerance", "ratio")
        await _drafted(console, tolerance={"max_invalid_ratio": ""})
        changes: list[tuple[str, str, dict[str, Any]]] = [
            ("[name^=multiplier]", "3", {"training_set": [{"dataset_id": dataset_id, "multiplier": 3.0}]}),
            ("#tolerance_ratio", "0.5", {"tolerance": {"max_invalid_ratio": 0.5}}),
            ("#output_count", "2", {"output_count": 2}),
        ]
        for revision, (field, value, said) in enumerate(changes, start=1):
            await _still(page)
            priced = {"task_id": task_id, "dataset_ids": [dataset_id], "project": "default"}
            console.hear("cost.estimated", priced | {"quote": quote(), "revision": revision})
            await page.locator("#fee [name=quote_id]").wait_for(state="attached")
            await page.fill(field, value)
            await page.keyboard.press("Tab")
            assert await page.locator("#fee [name=quote_id]").count() == 0
            await _drafted(console, **said)


async def test_a_validation_set_has_the_form_priced_again() -> None:
    console = ConsoleUnderTest()
    async with page_of(console) as page:
        await page.goto("/tasks/new")
        await upload(page, "training_set", "a.jsonl", SAMPLE)
        await page.locator("[name=training_set]").wait_for(state="attached")
        console.hear_own()
        await page.select_option("#validation", "datasets")
        await upload(page, "validation_set", "a.jsonl", SAMPLE)
        validation = await page.locator("[name=validation_set]").get_attribute("value")
        await _drafted(console, validation={"dataset_ids": [validation]})


async def test_every_field_says_what_it_says_and_one_that_does_not_count_is_not_there() -> None:
    console = ConsoleUnderTest()
    async with page_of(console) as page:
        await page.goto("/tasks/new")
        await upload(page, "training_set", "a.jsonl", SAMPLE)
        await page.get_by_label("Or only so many samples of it").fill("40")
        assert not await page.locator("#tolerance_ratio").is_visible()
        await page.select_option("#tolerance", "ratio")
        await page.fill("#tolerance_ratio", "0.05")
        await page.select_option("#shuffle", "seed")
        await page.fill("#shuffle_seed", "7")
        await page.fill("#name", "poems")
        await page.fill("#tags", "team=search\nurgent")
        await page.select_option("#visibility", "project")
        await page.fill("#max_cost", "20.50")
        console.hear_own()
        await page.get_by_role("button", name="Submit the task").click()
        await page.wait_for_url("**/tasks/task-*")
    # A draft of the last change may come after it.
    (form,) = [each.data for each in console.said if each.topic == "task.created"]
    assert [each["sample_count"] for each in form["training_set"]] == [40]
    assert {name: form[name] for name in ("tolerance", "shuffle", "tags", "visibility", "max_cost")} == {
        "tolerance": {"max_invalid_ratio": 0.05},
        "shuffle": 7,
        "tags": [{"key": "team", "value": "search"}, {"key": "urgent", "value": ""}],
        "visibility": "project",
        "max_cost": {"amount": "20.50", "currency": "CNY"},
    }


async def test_a_fault_goes_once_it_is_mended_and_the_focus_stays_with_who_types() -> None:
    async with page_of(ConsoleUnderTest()) as page:
        await page.goto("/tasks/new")
        await page.get_by_role("button", name="Submit the task").click()
        faults = page.locator("#faults [data-field]")
        await expect(faults).to_have_text(["name", "training_set"], timeout=60_000)
        await page.fill("#name", "poems")
        await page.keyboard.press("Tab")
        await expect(faults).to_have_text(["training_set"], timeout=60_000)
        assert await page.evaluate("document.activeElement.closest('#faults')") is None
        await upload(page, "training_set", "a.jsonl", SAMPLE)
        await expect(faults).to_have_count(0, timeout=60_000)
