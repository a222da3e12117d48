"""What belongs to one project is nothing at all to the people of another, whatever they name it."""

import re

import msgspec
import pytest

from handlers import layout
from tests.fakes.console import ConsoleUnderTest, form, person, progress, quote, status, verdict
from worker.console.access import Person
from worker.console.pages.live import told

ANN, BOB = person("ann", "alpha"), person("bob", "beta")


@pytest.fixture
def console() -> ConsoleUnderTest:
    """Everything there is belongs to alpha, which is Ann's."""
    console = ConsoleUnderTest()
    console.hear("task.created", form("t-1", "secret-poems", "alpha"))
    console.hear("task.status", status("t-1", project="alpha"))
    console.hear("training.progress", progress("t-1", 1, 2.0))
    console.hear("dataset.validated", verdict("d-1", "alpha"))
    console.hear("cost.estimated", {"task_id": "t-1", "dataset_ids": ["d-1"], "project": "alpha", "quote": quote()})
    uri = console.store.uri("models/m-1/")
    console.store.objects["models/m-1/manifest.json"] = b'{"files": []}'
    console.store.objects["uploads/alpha/a.jsonl"] = b"{}"
    console.hear(
        "model.exported",
        {"model_id": "m-1", "task_id": "t-1", "project": "alpha", "attempt": 1, "step": 9, "kind": "full", "uri": uri,
         "manifest_uri": uri + "manifest.json", "size_bytes": 1, "base_model": "tiny@1"},
    )  # fmt: skip
    return console


PLACES = [
    "/tasks/t-1", "/tasks/t-1/now", "/tasks/t-1/story", "/datasets/alpha/d-1", "/datasets/alpha/d-1/row",
    "/datasets/alpha/d-1/line?file=0&line=1", "/models/m-1", "/models/m-1/verified", "/models/m-1/SHA256SUMS",
    "/models/m-1/archive", "/models/m-1/files/manifest.json",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_stranger_finds_nothing_where_its_people_find_something(console: ConsoleUnderTest, place: str) -> None:
    assert console.browser(ANN).get(place).status_code in (200, 503)
    answer = console.browser(BOB).get(place)
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize("place", PLACES)
def test_a_stranger_is_answered_as_if_it_were_not_there(console: ConsoleUnderTest, place: str) -> None:
    missing = place.replace("t-1", "t-9").replace("d-1", "d-9").replace("m-1", "m-9")
    there, nowhere = console.browser(BOB).get(place), console.browser(BOB).get(missing)
    assert there.text.replace(place.partition("?")[0], "") == nowhere.text.replace(missing.partition("?")[0], "")


@pytest.mark.parametrize(
    "place",
    [
        "/tasks/..%2Ft-1", "/tasks/t-1%00", "/tasks/%2E%2E", "/datasets/beta/d-1", "/datasets/beta/..%2Falpha%2Fd-1",
        "/datasets/beta%2F..%2Falpha/d-1", "/datasets/*/d-1", "/models/m-1%2F", "/models/..%2Fm-1", "/models/%252E",
        "/tasks/<script>", "/tasks/new/t-1/fee?project=beta", "/tasks/new/t-1/fee?project=alpha",
        "/tasks/new/t-1/fee?project=*", "/tasks/new/choices?project=alpha", "/tasks/new?project=alpha%00",
    ],
)  # fmt: skip
def test_hostile_ids_lead_nowhere(console: ConsoleUnderTest, place: str) -> None:
    answer = console.browser(BOB).get(place)
    assert "secret" not in answer.text
    assert "1.25" not in answer.text
    assert answer.status_code == 404 or 'value="beta"' in answer.text


def test_lists_show_one_s_own_alone(console: ConsoleUnderTest) -> None:
    console.hear("task.created", form("t-2", "open-poems", "beta"))
    for page in ("/tasks", "/tasks/rows"):
        shown = console.browser(BOB).get(page).text
        assert ("open-poems" in shown, "secret-poems" in shown) == (True, False)


def test_a_stranger_commands_nothing(console: ConsoleUnderTest) -> None:
    assert console.browser(BOB).post("/tasks/t-1/commands", data={"command": "stop"}).status_code == 404
    assert console.said == []


def test_the_stream_of_changes_names_nothing_of_another_project(console: ConsoleUnderTest) -> None:
    run = console.view.changes.position.partition("-")[0]
    missed = console.view.changes.since(f"{run}-0")
    assert missed
    assert told(missed, console.view, BOB) == []
    assert set(told(missed, console.view, ANN)) >= {"task:t-1", "tasks", "dataset:d-1", "fee:t-1"}


def _fields(console: ConsoleUnderTest, who: Person) -> dict[str, str]:
    page = console.browser(who).get("/tasks/new").text
    found = re.findall(r'name="(task_id|project)" value="([^"]*)"', page)
    return dict(found) | {"name": "x", "training_type": "FinetuneLoRA", "base_model": "tiny@1", "output_count": "1"}


def test_nobody_trains_on_another_project_s_dataset(console: ConsoleUnderTest) -> None:
    fields = _fields(console, BOB)
    for more in ({"training_set": "d-1"}, {"validation": "datasets", "validation_set": "d-1"}):
        answer = console.browser(BOB).post("/tasks", data=fields | more)
        assert answer.status_code == 422
        assert "not of this project" in answer.text
    assert console.browser(BOB).post("/tasks/new/draft", data=fields | {"training_set": "d-1"}).status_code == 200
    assert console.said == [], "nor is it priced"


@pytest.mark.parametrize("path", ["/tasks", "/tasks/new/draft", "/tasks/new/uploads", "/tasks/new/imports"])
def test_nobody_submits_under_an_id_that_was_not_given_to_them(console: ConsoleUnderTest, path: str) -> None:
    anns, bobs = _fields(console, ANN), _fields(console, BOB)
    for task_id, project in [
        ("t-1", "beta"), ("t-1", "alpha"), (anns["task_id"], "alpha"), (anns["task_id"], "beta"),
        (bobs["task_id"], "alpha"), (bobs["task_id"] + "x", "beta"), ("", "beta"), ("..", "beta"),
    ]:  # fmt: skip
        fields = bobs | {"task_id": task_id, "project": project, "role": "training_set"}
        files = {"training_set.files": ("a.jsonl", b"{}")}
        answer = console.browser(BOB).post(path, data=fields, files=files)
        assert answer.status_code == 404, (task_id, project)
    assert console.said == []
    assert console.store.puts == []


@pytest.mark.parametrize(
    "key",
    [
        "uploads/alpha/a.jsonl", "uploads/beta/../alpha/a.jsonl", "uploads/beta/..%2Falpha/a.jsonl",
        "/uploads/alpha/a.jsonl", "uploads/beta//../../tasks/t-1/form.jsonl", "memory://bucket/uploads/alpha/a.jsonl",
        "uploads/betaalpha/a.jsonl", "uploads/beta/\x00.jsonl", "",
    ],
)  # fmt: skip
def test_nothing_is_imported_from_outside_the_project_s_own_prefix(console: ConsoleUnderTest, key: str) -> None:
    console.store.objects["uploads/betaalpha/a.jsonl"] = b"{}"
    fields = _fields(console, BOB) | {"role": "training_set", "training_set.object": key}
    assert console.browser(BOB).post("/tasks/new/imports", data=fields).status_code == 422
    assert console.said == []


def test_a_project_named_like_a_way_out_stays_inside(console: ConsoleUnderTest) -> None:
    dots = person("dora", "..")
    fields = _fields(console, dots) | {"role": "training_set"}
    answer = console.browser(dots).post(
        "/tasks/new/uploads", data=fields, files={"training_set.files": ("../../x.jsonl", b"{}")}
    )
    assert answer.status_code == 200
    (key,) = console.store.puts
    assert key.startswith("uploads/%2E./dataset-")
    assert key.endswith("/01/x.jsonl")


def test_another_project_s_form_or_import_of_the_same_id_is_never_mixed_in(console: ConsoleUnderTest) -> None:
    console.hear("task.created", form("t-1", "bobs-name", "beta"))
    console.hear("dataset.validated", verdict("d-1", "beta", samples=77, valid_samples=77))
    assert "bobs-name" not in console.browser(ANN).get("/tasks/t-1").text
    assert "77 of 77" not in console.browser(ANN).get("/datasets/alpha/d-1").text
    assert "77 of 77" in console.browser(BOB).get("/datasets/beta/d-1").text
    assert console.browser(BOB).get("/tasks/t-1").status_code == 404


@pytest.mark.parametrize("first", ["form", "status"])
def test_the_worker_says_whose_a_task_is_and_no_other_form_names_it(console: ConsoleUnderTest, first: str) -> None:
    heard = [("task.created", form("t-5", "bobs-name", "beta")), ("task.status", status("t-5", project="alpha"))]
    for topic, body in heard if first == "form" else reversed(heard):
        console.hear(topic, body)
    assert console.browser(BOB).get("/tasks/t-5").status_code == 404
    assert "bobs-name" not in console.browser(ANN).get("/tasks/t-5").text


def test_the_bucket_s_story_is_told_to_the_people_of_the_form_that_won_alone(console: ConsoleUnderTest) -> None:
    """Where the topics have forgotten whose a task is, whoever names it anew is not shown what was."""
    alphas, betas = form("t-7", project="alpha"), form("t-7", project="beta")
    won = {"task_id": "t-7", "digest": "x", "form": alphas, "submitted_at": "2026-01-01T00:00:00Z"}
    console.store.objects[layout.task("t-7", "form")] = msgspec.json.encode(won)
    console.hear("task.created", form("t-7", "bobs-name", "beta"))
    assert console.browser(BOB).get("/tasks/t-7/story").status_code == 404
    console.store.objects[layout.task("t-7", "form")] = msgspec.json.encode(won | {"form": betas})
    assert console.browser(BOB).get("/tasks/t-7/story").status_code == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/operators/letters", "GET"), ("/operators/letters/l-1", "GET"), ("/operators/letters/l-1", "POST"),
        ("/operators/replay", "GET"), ("/operators/replay", "POST"),
    ],
)  # fmt: skip
def test_operators_pages_are_for_operators(console: ConsoleUnderTest, path: str, method: str) -> None:
    answer = console.browser(ANN).request(method, path, data={"topic": "task.created", "action": "replay"})
    assert answer.status_code == 403
    assert console.operations.replayed == []


def test_what_somebody_wrote_is_text_and_never_markup(console: ConsoleUnderTest) -> None:
    console.hear("task.created", form("t-6", "<script>alert(1)</script>", "alpha"))
    for page in ("/tasks", "/tasks/t-6"):
        assert "<script>alert" not in console.browser(ANN).get(page).text
    assert layout.segment("..") == "%2E."
