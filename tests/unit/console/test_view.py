"""The view is a fold: events in any order, as often as they like, make the same of it."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from tests.fakes.console import form, progress, quote, status, verdict
from tests.fakes.events import event
from worker.console.changes import Changes
from worker.console.curve_points import MOST_POINTS, Run
from worker.console.view import FOLLOWED, View

MODEL = {
    "model_id": "m-1", "task_id": "t-1", "project": "default", "attempt": 1, "step": 9, "kind": "full", "uri": "x://m/",
    "manifest_uri": "x://m/manifest.json", "size_bytes": 1, "base_model": "tiny@1",
}  # fmt: skip
IMPORTED = {"dataset_id": "d-1", "files": [{"uri": "x://a.jsonl"}], "imported_at": "2026-01-01T00:00:00Z"}
FEE = {"task_id": "t-1", "dataset_ids": ["d-1"], "project": "default"}
STORY = [
    ("dataset.imported", IMPORTED),
    ("dataset.validated", verdict("d-1")),
    ("cost.estimated", FEE | {"quote": quote(), "revision": 1}),
    ("cost.estimated", FEE | {"quote": quote(amount="2.00"), "revision": 2}),
    ("task.created", form("t-1")),
    ("task.status", status("t-1", "Queued", 1)),
    ("task.status", status("t-1", "Running", 2)),
    ("task.status", status("t-1", "Completed", 3)),
    ("model.exported", MODEL),
]


def _view(events: Sequence[tuple[str, object]]) -> View:
    view = View(Changes())
    for topic, body in events:
        view.take(event(topic, body))
    return view


def _said(view: View) -> bytes:
    parts = [view.task("t-1"), view.dataset("default", "d-1"), view.fee("default", "t-1"), view.model("m-1")]
    return msgspec.json.encode(parts)


@pytest.mark.parametrize("seed", range(20))
def test_any_order_and_any_repetition_tells_the_same(seed: int) -> None:
    shuffled = random.Random(seed).sample(STORY * 2, len(STORY) * 2)  # noqa: S311 - an order, not a secret
    assert _said(_view(shuffled)) == _said(_view(STORY))


def test_the_highest_revision_holds_and_the_answer_to_a_second_form_changes_nothing() -> None:
    view = _view([*STORY, ("task.status", status("t-1", "Failed", 3, reason="conflict"))])
    task = view.task("t-1")
    assert task
    assert task.status
    assert (task.status.phase.value, task.name, list(task.models)) == ("Completed", "poems", ["m-1"])
    fee = view.fee("default", "t-1")
    assert fee
    assert fee.quote.amount == "2.00"


def test_findings_are_left_in_the_bucket() -> None:
    found = {"line": 1, "pointer": "", "code": "invalid-json", "severity": "error", "message": "x"}
    dataset = _view([("dataset.validated", verdict("d-1", findings=[found] * 20))]).dataset("default", "d-1")
    assert dataset
    assert dataset.verdict
    assert dataset.verdict.findings == ()


def test_a_form_that_is_none_is_heard_without_harm() -> None:
    view = _view([("task.created", b'{"task_id": "t-1", "name": 7, "project": ["x"]}')])
    task = view.task("t-1")
    assert task
    assert (task.name, task.project) == ("t-1", "['x']")


def test_every_topic_that_is_followed_is_taken_in() -> None:
    assert set(FOLLOWED) == {topic for topic, _ in STORY} | {"dataset.rejected", "training.progress", "model.expired"}


def _steps(*said: dict[str, object]) -> list[int]:
    view = _view([("training.progress", each) for each in said])
    return [point.step for point in view.run("t-1").points]


def test_an_attempt_that_goes_on_from_a_checkpoint_replaces_what_was_lost() -> None:
    first = [progress("t-1", step, 1.0) for step in range(6)]
    again = [progress("t-1", step, 0.5, seq=step - 3, attempt=2) for step in (3, 4)]
    late = progress("t-1", 5, 9.0, seq=99, attempt=1)
    assert _steps(*first, *again, late, *first) == [0, 1, 2, 3, 4]


def test_a_curve_keeps_its_ends_its_shape_and_its_size() -> None:
    run = Run()
    for step in range(10 * MOST_POINTS):
        body = progress("t-1", step, float(step))
        body["progress"]["validation_loss"] = 1.0 if step == 333 else None
        run.take(event("training.progress", body).data)
    steps = [point.step for point in run.points]
    assert len(steps) <= MOST_POINTS
    assert (steps[0], steps[-1]) == (0, 10 * MOST_POINTS - 1)
    assert 333 in steps
    assert steps == sorted(steps)


@pytest.mark.parametrize("again", [False, True], ids=["in order", "exported again"])
def test_a_model_that_expired_is_shown_no_more_also_where_its_export_is_said_again(*, again: bool) -> None:
    expired = {
        "model_id": "m-1", "task_id": "t-1", "project": "default", "uri": "x://m/", "size_bytes": 1,
        "manifest_uri": "x://m/manifest.json", "exported_at": "2026-01-01T00:00:00Z",
        "expired_at": "2026-02-01T00:00:00Z", "retention_days": 31,
    }  # fmt: skip
    view = _view([*STORY, ("model.exported", MODEL | {"model_id": "m-2"}), ("model.expired", expired)])
    if again:
        view.take(event("model.exported", MODEL))
    task = view.task("t-1")
    assert task is not None
    assert (list(task.models), [model.model_id for model in view.models("default")]) == (["m-2"], ["m-2"])
    assert view.model("m-1") is None
