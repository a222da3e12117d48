"""``python -m worker.trainer.generate``: what is said of an answer."""

from collections.abc import Callable
from pathlib import Path

import pytest

from worker.trainer import environment, generate

ASKED = ["--base", "tiny", "--prompt", "?"]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a model give this answer."""
    monkeypatch.setenv("WORKER_STORAGE_URL", tmp_path.as_uri())

    def let(answer: str) -> None:
        monkeypatch.setattr(environment, "prepare", lambda: None)
        monkeypatch.setattr(generate, "put_at_hand", lambda *_: None)
        monkeypatch.setattr(generate, "ask", lambda *_: answer)

    return let


@pytest.mark.parametrize(("answer", "warned"), [("Kafka", False), ("", True)])
def test_an_answer_without_a_word_is_said_to_be_one(
    answers: Callable[[str], None], capsys: pytest.CaptureFixture[str], answer: str, warned: bool
) -> None:
    answers(answer)
    assert generate.main(ASKED) == 0
    said = capsys.readouterr()
    assert (said.out, "the answer is empty" in said.err) == (f"{answer}\n", warned)
