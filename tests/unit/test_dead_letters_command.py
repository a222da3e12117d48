"""``worker dead-letters``: names that are not known, and letters that no retry mends."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts.codec import encode_body
from worker.cli import app
from worker.commands import dead_letters
from worker.letters import Letter, hopeless


def letter(**changes: Any) -> Letter:
    given: dict[str, Any] = {
        "id": "letter-1", "reason": "bug", "text": "KeyError", "topic": "task.command", "partition": 0, "offset": 1,
        "stage": "task-command", "attempts": 3, "time": datetime(2026, 1, 2, tzinfo=UTC), "correlation_id": None,
        "key": b"t-1", "headers": (), "body": encode_body({"command_id": "c", "task_id": "t-1", "command": "stop"}),
    }  # fmt: skip
    return Letter(**given | changes)


MALFORMED = letter(id="letter-2", reason="invalid-json", text="malformed", body=b"not JSON")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let these letters be there, and any of them be put back."""

    def let(*letters: Letter) -> None:
        monkeypatch.setattr(dead_letters, "_chosen", lambda *_, **__: list(letters))
        monkeypatch.setattr(dead_letters, "_with_store", lambda *_, **__: [])

    return let


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *words])


@pytest.mark.parametrize(
    ("option", "name", "known"),
    [
        ("--reason", "bugg", "bug, transient-fault, invalid-json"),
        ("--stage", "nosuch", "dataset-validation, cost-estimation"),
        ("--topic", "nosuch", "dataset.imported, task.created"),
    ],
)
@pytest.mark.parametrize("words", [["list"], ["retry", "--all"], ["drop", "--all"]])
def test_of_a_name_that_is_not_known_nobody_is_told_that_there_are_no_letters(
    words: list[str], option: str, name: str, known: str
) -> None:
    said = run(*words, option, name)
    assert said.exit_code == 2
    assert f"no {option.removeprefix('--')} {name}; there are {known}" in said.output


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_retry_says_what_it_cannot_mend(there: Callable[..., None], dry_run: list[str]) -> None:
    there(letter(), MALFORMED)
    said = run("retry", "--all", *dry_run)
    (warned,) = [line for line in said.stderr.splitlines() if line.startswith("worker dead-letters retry:")]
    assert "letter letter-2 is refused unchanged (invalid-json: " in warned
    assert warned.endswith("publish a corrected event to task.command, then worker dead-letters drop letter-2")
    assert said.exit_code == 0
    mended, refused = said.stdout.splitlines()
    assert mended.endswith("would be put back" if dry_run else "task.command")
    assert refused.endswith("would be put back, and refused again" if dry_run else "task.command  refused again")
    (note,) = json.loads(run("retry", "--all", "--json", *dry_run).stdout)["notes"]
    assert note in warned


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"task_id": "t-1"}'},
        {"headers": (("ce_specversion", b"2.0"),)},
        {"body": None},
    ],
)
def test_what_the_same_bytes_always_meet_is_known_whatever_it_is(changes: dict[str, Any]) -> None:
    assert hopeless(letter(**changes)) is not None


def test_what_may_go_well_another_time_is_not_warned_of() -> None:
    assert hopeless(letter()) is None
    # Its contract has been widened since.
    assert hopeless(letter(reason="breaks-contract", text="command: 'stop' is not known")) is None
    assert hopeless(letter(body=b"", left_out="2000000 bytes")) is None


def test_a_letter_is_shown_without_what_it_does_not_have(there: Callable[..., None]) -> None:
    there(letter())
    shown = run("show", "letter-1").stdout
    assert "KeyError" in shown
    assert "None" not in shown
