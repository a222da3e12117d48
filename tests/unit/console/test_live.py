"""What changed reaches every page that was told of a position before, and none is told what it may not know."""

import asyncio

import pytest

from tests.fakes.console import TOKEN, ConsoleUnderTest, person, progress, status
from tests.wait import wait_until
from worker.console.access import Person
from worker.console.changes import Changes
from worker.console.pages import live


@pytest.fixture(autouse=True)
def _without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_REST_SECONDS", 0.0)


EVERYBODY = Person(name="o", projects=("*",))


async def _heard(console: ConsoleUnderTest, who: Person, position: str, wanted: int) -> list[str]:
    """Return the first messages that a page hears which connects at a position."""
    heard: list[str] = []
    async for said in live._events(console.view, who, position):
        heard.append(said)
        if len(heard) == wanted:
            break
    return heard


async def test_a_page_that_was_away_hears_what_it_missed_once() -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1", "Queued", 1))
    before = console.view.changes.position
    console.hear("task.status", status("t-1", "Running", 2))
    for step in range(5):
        console.hear("training.progress", progress("t-1", step, 1.0))
    _, missed = await _heard(console, EVERYBODY, before, 2)
    assert missed == f"id: {console.view.changes.position}\nevent: changed\ndata: task:t-1 tasks\n\n"


@pytest.mark.parametrize("position", ["", "nonsense", "00000000-3", "{run}-999999", "{run}--1", "{run}-1\n"])
async def test_a_position_that_means_nothing_here_makes_the_page_ask_for_everything(position: str) -> None:
    console = ConsoleUnderTest()
    console.hear("task.status", status("t-1"))
    run = console.view.changes.position.partition("-")[0]
    _, told = await _heard(console, EVERYBODY, position.replace("{run}", run), 2)
    assert "event: reset" in told


async def test_a_waiting_page_is_woken_by_a_change_and_by_the_end() -> None:
    console = ConsoleUnderTest()
    heard: list[str] = []

    async def listen() -> None:
        async for said in live._events(console.view, EVERYBODY, console.view.changes.position):
            heard.append(said)  # noqa: PERF401 - what was heard is looked at meanwhile

    page = asyncio.create_task(listen())
    await wait_until(lambda: heard)
    console.hear("task.status", status("t-1"))
    await wait_until(lambda: "task:t-1" in heard[-1])
    console.view.changes.close()
    async with asyncio.timeout(60):
        await page


async def test_a_page_without_rights_hears_of_time_alone() -> None:
    console = ConsoleUnderTest()
    before = console.view.changes.position
    console.hear("task.status", status("t-1", project="alpha"))
    console.view.changes.close()
    heard = [said async for said in live._events(console.view, person("bob", "beta"), before)]
    assert not any("t-1" in said for said in heard)


def test_changes_forget_the_oldest_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.console.changes._REMEMBERED", 3)
    changes = Changes()
    first = changes.position
    for number in range(4):
        changes.add("task", f"t-{number}", "default")
    assert changes.since(first) is None
    run = first.partition("-")[0]
    assert [change.id for change in changes.since(f"{run}-1") or ()] == ["t-1", "t-2", "t-3"]
    assert changes.since(changes.position) == []


def test_the_stream_goes_on_from_the_last_id_a_browser_heard() -> None:
    console = ConsoleUnderTest()
    browser = console.browser()
    browser.post("/sign-in", data={"token": TOKEN})
    console.hear("task.status", status("t-1"))
    position = console.view.changes.position
    console.hear("task.status", status("t-2"))
    console.view.changes.close()  # else it would go on for ever
    assert browser.get("/live").headers["content-type"].startswith("text/event-stream")
    console.view.changes.closed = False
    missed = console.view.changes.since(position)
    assert missed
    assert [change.id for change in missed] == ["t-2"]
