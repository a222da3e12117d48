"""What operators see and do: dead letters, replays."""

from datetime import UTC, datetime

import pytest

from tests.fakes.console import ConsoleUnderTest
from tests.fakes.console_scene import REPLAYED, letter
from worker.console.parts import ReplayFailed
from worker.letters import Note


@pytest.fixture
def console() -> ConsoleUnderTest:
    console = ConsoleUnderTest()
    dropped = Note("dropped", datetime(2026, 1, 2, tzinfo=UTC), "somebody")
    console.operations.found = [letter("l-1"), letter("l-2", note=dropped), letter("l-3", left_out="9999999 bytes")]
    return console


def test_open_letters_are_listed_and_all_where_asked(console: ConsoleUnderTest) -> None:
    shown = console.operator().get("/operators/letters").text
    assert ("/letters/l-1" in shown, "/letters/l-2" in shown, "bug 2" in shown) == (True, False, True)
    assert "/letters/l-2" in console.operator().get("/operators/letters?all=yes").text


def test_a_letter_is_shown_whole_and_as_text(console: ConsoleUnderTest) -> None:
    shown = console.operator().get("/operators/letters/l-1").text
    assert "&lt;b&gt;\\xff" in shown
    assert "task.created[3]@7" in shown
    assert console.operator().get("/operators/letters/l-9").status_code == 404


def test_letters_are_put_back_or_dropped_under_the_operator_s_name(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    assert "put back" in browser.post("/operators/letters/l-1", data={"action": "retry"}).text
    browser.post("/operators/letters/l-1", data={"action": "drop"})
    assert console.operations.done == [("retried", "l-1", "operator"), ("dropped", "l-1", "operator")]
    refused = browser.post("/operators/letters/l-3", data={"action": "retry"})
    assert (refused.status_code, "has no body" in refused.text) == (422, True)
    assert browser.post("/operators/letters/l-1", data={"action": "eat"}).status_code == 400


def test_a_replay_is_dry_unless_it_is_asked_for_and_shows_where_rules_differ(console: ConsoleUnderTest) -> None:
    console.operations.result = REPLAYED
    browser = console.operator()
    given = {"topic": "dataset.imported", "since": "2026-01-01T00:00:00Z", "key": "--recompute", "stage": ""}
    shown = browser.post("/operators/replay", data=given).text
    assert "3 records, 1 of them poison" in shown
    assert "validated → rejected" in shown
    assert "Would be said: dataset.validated 2" in shown
    browser.post("/operators/replay", data=given | {"action": "replay"})
    dry, wet = console.operations.replayed
    assert dry == ["dataset.imported", "--since=2026-01-01T00:00:00Z", "--key=--recompute", "--dry-run"]
    assert wet == dry[:-1]


def test_what_cannot_be_replayed_is_said(console: ConsoleUnderTest) -> None:
    console.operations.result = ReplayFailed("worker replay: no topic dataset.imported")
    browser = console.operator()
    answer = browser.post("/operators/replay", data={"topic": "dataset.imported"})
    assert (answer.status_code, "no topic" in answer.text) == (422, True)
    assert browser.post("/operators/replay", data={"topic": "--help"}).status_code == 400
