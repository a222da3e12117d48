"""The form's way, over the pages alone: import, findings, fee, submit, the task, its curve, its model."""

import re
from urllib.parse import urlsplit

import msgspec
import pytest

from contracts.codec import encode_body
from contracts.dataset import CheckedFile, DatasetImported
from contracts.datasets.findings import Finding
from contracts.form import read_form
from handlers import layout
from handlers.validation.report import Report
from tests.fakes.console import ConsoleUnderTest, filled, form, hidden, progress, quote, status, verdict
from tests.fakes.store import etag_of

GOOD = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
BAD = '{"messages": [{"role": "usr", "content": "灯"}, {"role": "assistant", "content": "b"}]}\n'.encode()


def test_the_way_from_an_upload_to_a_submitted_task(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text)
    answer = browser.post(
        "/tasks/new/uploads",
        data=fields | {"role": "training_set"},
        files={"training_set.files": ("my poems.jsonl", GOOD * 3)},
    )
    assert answer.status_code == 200
    dataset_id = hidden(answer.text, "training_set")
    (said,) = console.said
    assert isinstance(said.data, DatasetImported)
    assert (said.topic, said.key, said.data.format) == ("dataset.imported", dataset_id, "sft")
    key = console.store.key(said.data.files[0].uri)
    assert console.store.objects[key] == GOOD * 3
    assert key == f"uploads/default/{dataset_id}/01/my_poems.jsonl"
    assert ">my_poems.jsonl</a>" in answer.text
    assert said.data.draft is not None
    assert said.data.draft["training_set"] == [{"dataset_id": dataset_id}]
    assert said.data.draft["hyperparameters"] == {"epochs": "6"}

    console.hear_own()
    console.hear("dataset.validated", verdict(dataset_id))
    assert "3 of 3 samples valid, sft" in browser.get(f"/datasets/default/{dataset_id}/row").text
    task_id = fields["task_id"]
    console.hear(
        "cost.estimated", {"task_id": task_id, "dataset_ids": [dataset_id], "project": "default", "quote": quote()}
    )
    fee = browser.get(f"/tasks/new/{task_id}/fee", params={"project": "default"}).text
    assert "<strong>1.25</strong> CNY" in fee

    submitted = fields | {"training_set": dataset_id, "quote_id": hidden(fee, "quote_id")}
    answer = browser.post("/tasks", data=submitted)
    assert answer.headers["HX-Redirect"] == f"/tasks/{task_id}"
    assert console.said[-1].topic == "task.created"
    reading = read_form(encode_body(console.said[-1].data))
    assert reading.faults == ()
    assert reading.form is not None
    assert (reading.form.quote_id, reading.form.name) == ("q-1", "poems")
    again = browser.post("/tasks", data=submitted)
    assert again.status_code == 204
    assert console.said[-1].id == console.said[-2].id, "a second click is the same event"
    assert "Submitted" in browser.get(f"/tasks/{task_id}").text


def test_every_fault_of_a_form_is_shown_with_its_field_and_nothing_is_published(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text, name="no good!", output_count="many", **{"hp.epochs": "0"})
    answer = browser.post("/tasks", data=fields)
    assert answer.status_code == 422
    fields_named = re.findall(r'data-field="([^"]+)"', answer.text)
    assert set(fields_named) == {"name", "output_count", "hp.epochs", "training-set"}
    assert console.said == []


def test_faults_that_are_mended_are_gone_before_the_form_is_submitted_again(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    console.hear("dataset.imported", {"dataset_id": "d-1", "files": [{"uri": console.store.uri("a.jsonl")}]})
    fields = filled(browser.get("/tasks/new").text, training_set="d-1", output_count="many", name="no good!")
    left = []
    for mended in ({}, {"name": "poems"}, {"output_count": "1"}):
        fields |= mended
        answer = browser.post("/tasks/new/faults", data=fields)
        left.append((answer.status_code, re.findall(r'data-field="([^"]+)"', answer.text)))
    assert left == [(200, ["name", "output_count"]), (200, ["output_count"]), (200, [])]
    assert answer.text.strip() == ""
    assert console.said == []


def test_a_change_of_the_form_has_it_priced_again(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text)
    assert "about five seconds" in browser.post("/tasks/new/draft", data=fields).text
    assert console.said == []
    browser.post(
        "/tasks/new/uploads", data=fields | {"role": "training_set"}, files={"training_set.files": ("a.jsonl", GOOD)}
    )
    console.hear_own()
    dataset_id = console.said[0].key
    answer = browser.post("/tasks/new/draft", data=fields | {"training_set": dataset_id, "hp.epochs": "9"})
    assert "Being estimated" in answer.text
    first, second = console.said
    assert second.data.draft["hyperparameters"] == {"epochs": "9"}
    assert (second.key, second.data.files, second.id != first.id) == (first.key, first.data.files, True)


def test_a_file_of_the_bucket_is_imported_where_it_is(console: ConsoleUnderTest) -> None:
    console.store.objects["uploads/default/there.jsonl"] = GOOD
    browser = console.operator()
    shown = browser.get("/tasks/new").text
    assert 'value="uploads/default/there.jsonl"' in shown
    fields = filled(shown) | {"role": "training_set", "training_set.object": "uploads/default/there.jsonl"}
    assert browser.post("/tasks/new/imports", data=fields).status_code == 200
    assert console.said[0].data.files[0].uri == console.store.uri("uploads/default/there.jsonl")


def test_a_validation_set_is_imported_without_a_draft_and_named_in_the_form(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text)
    for role in ("training_set", "validation_set"):
        browser.post("/tasks/new/uploads", data=fields | {"role": role}, files={f"{role}.files": ("a.jsonl", GOOD)})
    console.hear_own()
    training, validation = console.said
    assert validation.data.draft is None
    more = {"training_set": training.key, "validation": "datasets", "validation_set": validation.key}
    assert browser.post("/tasks", data=fields | more).status_code == 204
    assert console.said[-1].data["validation"] == {"dataset_ids": [validation.key]}


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([], "Choose at least one file"),
        ([("training_set.files", ("a.txt", GOOD))], "Only .jsonl files"),
    ],
)
def test_what_is_no_dataset_is_refused_with_why(console: ConsoleUnderTest, files: list[object], why: str) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text) | {"role": "training_set"}
    answer = browser.post("/tasks/new/uploads", data=fields, files=files or {"none": ("", b"")})  # type: ignore[arg-type]
    assert (answer.status_code, why in answer.text, console.said) == (422, True, [])


def test_findings_lead_to_their_line_and_place(console: ConsoleUnderTest) -> None:
    key = "uploads/default/d-1/01-a.jsonl"
    console.store.objects[key] = GOOD * 2 + BAD
    etag = etag_of(console.store.objects[key])
    file = CheckedFile(uri=console.store.uri(key), etag=etag, size_bytes=1, sha256="0" * 64)
    finding = Finding(
        line=3, pointer="/messages/0/role", code="unknown-role", severity="error", message="'usr' is not a role",
        hint="did you mean 'user'?",
    )  # fmt: skip
    digest = "d" * 64
    report = Report(
        digest=digest, format="sft", files=(file,), samples=3, valid_samples=2, totals={"unknown-role": 1},
        findings=(finding,),
    )  # fmt: skip
    console.store.objects[layout.dataset_report("d-1", digest)] = msgspec.json.encode(report)
    body = verdict("d-1", valid_samples=2, totals={"unknown-role": 1}, files=[msgspec.to_builtins(file)])
    console.hear("dataset.rejected", body | {"reason": "invalid-samples", "message": "1 of 3"})
    browser = console.operator()
    row = browser.get("/datasets/default/d-1/row", headers={"Accept-Language": "zh"}).text
    assert "消息的角色未知" in row
    assert "未通过" in row
    link = re.search(r'hx-get="([^"]+/line[^"]+)"', row)
    assert link
    shown = browser.get(link[1].replace("&amp;", "&")).text
    assert "Line 3 of 01-a.jsonl" in shown
    assert "<mark>&#34;usr&#34;</mark>" in shown


def test_why_a_dataset_whose_file_is_not_there_was_rejected_is_said(console: ConsoleUnderTest) -> None:
    why = "mem://bucket/gone.jsonl: no such file; upload it again, then import the dataset again"
    unreadable = verdict("gone", samples=0, valid_samples=0, format=None, files=[])
    console.hear("dataset.rejected", unreadable | {"reason": "unreadable", "message": why})
    shown = console.operator().get("/datasets/default/gone").text
    assert why in shown
    assert "Its files cannot be read" in shown
    assert "samples valid" not in shown


def test_what_a_fee_lacks_is_said_by_the_name_of_its_file_and_leads_to_its_findings(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    task_id = filled(browser.get("/tasks/new").text)["task_id"]
    files = [{"uri": console.store.uri("uploads/default/d-1/01/own.jsonl")}]
    console.hear("dataset.imported", {"dataset_id": "d-1", "files": files})
    lacking = ["dataset d-1: 1 of 3 samples are invalid (unknown-role)", "dataset d-2: not validated yet", "base_model"]
    unknown = quote(amount=None, complete=False, missing=lacking, items=[], billed_tokens=0)
    said = {"task_id": task_id, "dataset_ids": ["d-1"], "project": "default", "quote": unknown}
    console.hear("cost.estimated", said)
    fee = browser.get(f"/tasks/new/{task_id}/fee", params={"project": "default"}).text
    assert re.search(r'<a href="/datasets/default/d-1"[^>]*>own.jsonl</a>: <span lang="en">1 of 3', fee)
    assert [each in fee for each in lacking] == [False, True, True]
    assert "tokens to bill" not in fee


def test_a_task_is_shown_live_with_its_curve_and_can_be_stopped(console: ConsoleUnderTest) -> None:
    console.hear("task.created", form("t-1", name="我的任务"))
    console.hear(
        "task.status", status("t-1", progress={"step": 4, "total_steps": 10, "loss": 0.5, "eta_seconds": 75.0})
    )
    for step in range(5):
        console.hear("training.progress", progress("t-1", step, 3.0 - step / 2))
    browser = console.operator()
    assert "我的任务" in browser.get("/tasks").text
    shown = browser.get("/tasks/t-1/now").text
    assert "5 points from step 0 to 4; the loss went from 3 to 1" in shown
    assert "1 min 15 s" in shown
    points = re.search(r'<polyline class="series series-1" points="([^"]+)"', shown)
    assert points
    heights = [float(pair.split(",")[1]) for pair in points[1].split()]
    assert heights == sorted(heights), "a falling loss is drawn downwards"
    assert browser.post("/tasks/t-1/commands", data={"command": "pause"}).status_code == 200
    said = console.said[-1]
    assert (said.topic, said.key, said.data.command) == ("task.command", "t-1", "pause")
    assert browser.post("/tasks/t-1/commands", data={"command": "explode"}).status_code == 400


def test_no_broker_is_said_and_nothing_lost_of_the_form(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    console.hear("task.status", status("t-1"))
    console.available = False
    answer = browser.post("/tasks/t-1/commands", data={"command": "stop"})
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def test_pages_lead_home(console: ConsoleUnderTest) -> None:
    assert urlsplit(console.operator().get("/").headers["location"]).path == "/tasks"


def test_a_dataset_that_was_only_just_brought_in_is_no_stranger(console: ConsoleUnderTest) -> None:
    browser = console.operator()
    fields = filled(browser.get("/tasks/new").text)
    files = {"training_set.files": ("a.jsonl", GOOD)}
    answer = browser.post("/tasks/new/uploads", data=fields | {"role": "training_set"}, files=files)
    own = fields | {"training_set": hidden(answer.text, "training_set")}
    assert browser.post("/tasks/new/faults", data=own).text.strip() == ""
    assert "not of this project" in browser.post("/tasks/new/faults", data=own | {"training_set": "d-1"}).text
