"""The worker's codes in Chinese: none is left without its words, and its own words stay."""

import re
from pathlib import Path

import pytest

from handlers.failures import FAILURES
from tests.fakes.console import ConsoleUnderTest, filled, form, status
from worker.console.reasons import FAULTS, REASONS, fault_in, reason_in

ROOT = Path(__file__).parents[3]


def _code(folder: str) -> str:
    return "\n".join(path.read_text("utf-8") for path in sorted((ROOT / folder).rglob("*.py")))


HANDLERS, CONTRACTS, SWEEPS = _code("handlers"), _code("contracts"), _code("worker/sweeps")
_REASON = re.compile(r'(?:\breason(?:: str)? ?= ?|\bRefusal\(|\bFailure\(|\bWAITING = )"([a-z-]+)"')
_FAULT = re.compile(r'\bFault\([^"\n]*(?:"[^"\n]*")?[^"\n]*, "([a-z]+(?:-[a-z]+)*)"')


def test_every_reason_that_handlers_and_sweeps_give_has_its_words() -> None:
    said = set(_REASON.findall(HANDLERS + SWEEPS)) | FAILURES.keys()
    said |= {f"quote-{name}" for name in re.findall(r'_refused\("quote-([a-z-]+)"', HANDLERS)}
    said |= {f"{name}-not-allowed" for name in ("pause", "resume", "export", "delete")}
    said |= {"too-late-to-stop", "too-late-to-pause"}
    assert len(said) > 60, "the codes are found where they are said"
    assert sorted(said - REASONS.keys()) == []


def test_every_fault_of_a_form_has_its_words() -> None:
    said = set(_FAULT.findall(HANDLERS + CONTRACTS))
    assert {"missing-field", "unknown-model", "conflict"} <= said, "the codes are found where they are said"
    assert sorted(said - FAULTS.keys()) == []


def test_a_code_that_is_new_has_none_and_english_is_the_worker_s_own() -> None:
    assert (reason_in("zh", "brand-new"), fault_in("zh", "brand-new")) == (None, None)
    assert (reason_in("en", "stalled"), fault_in("en", "missing-field")) == (None, None)


@pytest.mark.parametrize(("language", "there"), [("zh", True), ("en", False)])
def test_a_task_s_reason_its_faults_and_an_answer_are_in_the_page_s_language(language: str, *, there: bool) -> None:
    console = ConsoleUnderTest()
    console.hear("task.created", form("t-1"))
    own = "paused; a resume goes on from the beginning"
    fault = {"field": "name", "code": "missing-field", "message": "name is required"}
    console.hear("task.status", status("t-1", "Paused", reason="paused-by-user", message=own, faults=[fault]))
    refused = "a task can be paused while it is queued or training; it is Paused"
    console.hear("task.status", status("t-1", "Paused", reason="pause-not-allowed", message=refused))
    shown = console.operator().get("/tasks/t-1/now", headers={"Accept-Language": language}).text
    assert [words in shown for words in (own, refused, "name is required")] == [True] * 3
    meant = (REASONS["paused-by-user"], REASONS["pause-not-allowed"], FAULTS["missing-field"])
    assert [words in shown for words in meant] == [there] * 3


def test_faults_of_the_form_are_in_the_page_s_language() -> None:
    browser = ConsoleUnderTest().operator()
    fields = filled(browser.get("/tasks/new").text, output_count="many")
    answer = browser.post("/tasks", data=fields, headers={"Accept-Language": "zh"})
    assert FAULTS["missing-field"] in answer.text or FAULTS["invalid-length"] in answer.text
    assert FAULTS["wrong-type"] in answer.text or FAULTS["out-of-range"] in answer.text
