"""A console with something of everything on its pages, for tests that look at them."""

import json
from datetime import UTC, datetime

import msgspec

from contracts.dataset import CheckedFile
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.validation.report import Report
from tests.fakes.console import ConsoleUnderTest, form, progress, quote, status, verdict
from tests.fakes.store import etag_of
from worker.letters import Letter

FAULTY = '{"messages": [{"role": "usr", "content": "孤灯照不寐"}, {"role": "assistant", "content": "b"}]}\n'.encode()

#: Pages of everybody, of tasks in their phases, and of operators.
PAGES = (
    "/tasks", "/tasks/running", "/tasks/ended", "/tasks/refused", "/datasets/default/d-1", "/models/m-1",
    "/operators/letters", "/operators/letters/l-1", "/operators/replay",
)  # fmt: skip

REPLAYED = {
    "topic": "dataset.imported", "dry_run": True, "records": 3, "poison": 1,
    "stages": {"dataset-validation": {"outcomes": {"validated": 2}, "said": {"dataset.validated": 2}}},
    "changed": [{"stage": "dataset-validation", "business_key": "d-1/x", "recorded": "validated", "now": "rejected",
                 "differs": ["dataset.validated"]}],
    "failed": [],
}  # fmt: skip


def scene() -> ConsoleUnderTest:
    """Return a console with tasks, a rejected dataset, a model, a dead letter and a replay that would say something."""
    console = ConsoleUnderTest()
    _running(console)
    _ended(console)
    console.hear("task.created", form("refused", name="坏表单"))
    faults = [{"field": "hyperparameters.lora_rnk", "code": "unknown", "message": "unknown; did you mean lora_rank?"}]
    refused = status("refused", "Failed", party="user", message="the form has 1 fault", faults=faults)
    console.hear("task.status", refused)
    console.store.objects["uploads/default/d-1/01-a.jsonl"] = FAULTY
    console.hear("dataset.imported", {"dataset_id": "d-1", "files": [{"uri": _uri(console, "d-1")}], "format": "sft"})
    rejected(console, "d-1", _uri(console, "d-1"))
    console.operations.found = [letter("l-1")]
    console.operations.result = REPLAYED
    return console


def rejected(console: ConsoleUnderTest, dataset_id: str, uri: str) -> None:
    """Let a file with the one line FAULTY be rejected."""
    file = CheckedFile(uri=uri, etag=etag_of(FAULTY), size_bytes=len(FAULTY), sha256="0" * 64)
    found = Finding(
        line=1, pointer="/messages/0/role", code="unknown-role", severity="error", message="'usr' is not a role",
        hint="did you mean 'user'?",
    )  # fmt: skip
    note = Finding(line=1, pointer="", code="too-few-samples", severity="warning", message="1 sample")
    totals = {"unknown-role": 1, "too-few-samples": 1}
    report = Report(
        digest="d" * 64, format="sft", files=(file,), samples=1, valid_samples=0, totals=totals, findings=(found, note)
    )
    console.store.objects[layout.dataset_report(dataset_id, "d" * 64)] = msgspec.json.encode(report)
    said = verdict(dataset_id, totals=totals, valid_samples=0, samples=1, files=[msgspec.to_builtins(file)])
    console.hear("dataset.rejected", said | {"reason": "invalid-samples", "message": "1 of 1"})


def letter(id_: str, **more: object) -> Letter:
    """Return a dead letter with a body that must be shown as text."""
    fields = {
        "id": id_, "reason": "bug", "text": "KeyError('x')", "topic": "task.created", "partition": 3, "offset": 7,
        "stage": "training-dispatch", "attempts": 4, "time": datetime(2026, 1, 1, tzinfo=UTC), "correlation_id": "t-1",
        "key": b"t-1", "body": b'{"task_id": "t-1", "name": "<b>\xff"}', "headers": (("ce_id", b"1"), ("odd", None)),
    } | more  # fmt: skip
    return Letter(**fields)  # type: ignore[arg-type]


def _uri(console: ConsoleUnderTest, dataset_id: str) -> str:
    return console.store.uri(f"uploads/default/{dataset_id}/01-a.jsonl")


def _running(console: ConsoleUnderTest) -> None:
    console.hear("task.created", form("running", name="poems-and-habits"))
    now = {"step": 8, "total_steps": 10, "epoch": 2.4, "loss": 0.5, "validation_loss": 0.7, "learning_rate": 0.0004,
           "tokens_per_second": 1853.2, "eta_seconds": 75.0}  # fmt: skip
    console.hear("task.status", status("running", "Running", 2, progress=now))
    for step in range(1, 9):
        said = progress("running", step, 4.0 / step)
        said["progress"] |= {"validation_loss": 4.5 / step} if step % 4 == 0 else {}
        console.hear("training.progress", said)
    console.hear(
        "cost.estimated", {"task_id": "running", "dataset_ids": ["d-1"], "project": "default", "quote": quote()}
    )


def _ended(console: ConsoleUnderTest) -> None:
    due = {"basis": "quote", "amount": "1.25", "currency": "CNY", "party": None, "trained_tokens": 3000}
    console.hear("task.created", form("ended", name="已完成的任务"))
    ended = status("ended", "Completed", 9, message="1 model in the repository", settlement=due)
    console.hear("task.status", ended | {"progress": {"step": 10, "total_steps": 10, "loss": 0.4}})
    weights = b"w" * 5000
    described = {"path": "model.safetensors", "size_bytes": len(weights), "sha256": layout.sha256_hex(weights)}
    console.store.objects["models/m-1/model.safetensors"] = weights
    console.store.objects["models/m-1/manifest.json"] = json.dumps({"files": [described]}).encode()
    uri = console.store.uri("models/m-1/")
    console.hear(
        "model.exported",
        {"model_id": "m-1", "task_id": "ended", "project": "default", "attempt": 1, "step": 10, "kind": "adapter",
         "uri": uri, "manifest_uri": uri + "manifest.json", "size_bytes": 5000, "base_model": "tiny@1"},
    )  # fmt: skip
