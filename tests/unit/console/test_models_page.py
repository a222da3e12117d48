"""Exported models: downloaded as they are described, and trained on again."""

import io
import json
import tarfile

import pytest

from handlers import layout
from tests.fakes.console import ConsoleUnderTest, filled, verdict
from tests.fakes.console_scene import scene

WEIGHTS = layout.sha256_hex(b"w" * 5000)


@pytest.mark.parametrize(
    "described",
    [
        {"path": "model.bin", "mediaType": "application/octet-stream", "digest": f"sha256:{WEIGHTS}", "size": 5000},
        {"path": "model.bin", "size_bytes": 5000, "sha256": WEIGHTS},  # as manifests were before they had media types
    ],
)
def test_a_model_is_downloaded_whole_and_by_file_and_nothing_that_its_manifest_does_not_name(
    console: ConsoleUnderTest, described: dict[str, object]
) -> None:
    body = b"w" * 5000
    console.store.objects |= {"models/m-1/model.bin": body, "models/m-1/secret": b"x", "models/m-2/model.bin": b"y"}
    console.store.objects["models/m-1/manifest.json"] = json.dumps({"files": [described]}).encode()
    uri = console.store.uri("models/m-1/")
    console.hear(
        "model.exported",
        {"model_id": "m-1", "task_id": "t-1", "project": "default", "attempt": 1, "step": 9, "kind": "full", "uri": uri,
         "manifest_uri": uri + "manifest.json", "size_bytes": 5000, "base_model": "tiny@1"},
    )  # fmt: skip
    browser = console.operator()
    assert WEIGHTS in browser.get("/models/m-1").text
    answer = browser.get("/models/m-1/files/model.bin")
    assert (answer.content, answer.headers["content-disposition"][:10]) == (body, "attachment")
    for path in ("secret", "..%2Fm-2%2Fmodel.bin", "../m-2/model.bin", "%2Fetc%2Fpasswd"):
        assert browser.get(f"/models/m-1/files/{path}").status_code == 404
    assert browser.get("/models/m-1/SHA256SUMS").text.startswith(f"{WEIGHTS}  model.bin\n")
    with tarfile.open(fileobj=io.BytesIO(browser.get("/models/m-1/archive").content)) as archive:
        assert archive.getnames() == ["m-1/model.bin", "m-1/manifest.json"]
        extracted = archive.extractfile("m-1/model.bin")
        assert extracted is not None
        assert extracted.read() == body


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, "All 2 files are as they were exported."),
        ({"model.safetensors": b"v" * 5000}, "model.safetensors is not as it was exported."),
        ({"model.safetensors": b"w"}, "model.safetensors is not as it was exported."),
        ({"model.safetensors": None}, "model.safetensors is not as it was exported."),
        ({"pytorch_model.bin": b"x"}, "pytorch_model.bin is not named in the manifest."),
        ({"manifest.json": None}, "There is no manifest"),
    ],
)
def test_a_model_is_verified_file_by_file(changed: dict[str, bytes | None], says: str) -> None:
    console = scene()
    for path, body in changed.items():
        if body is None:
            del console.store.objects[f"models/m-1/{path}"]
        else:
            console.store.objects[f"models/m-1/{path}"] = body
    answer = console.operator().get("/models/m-1/verified")
    assert (answer.status_code, says in answer.text) == (200, True)
    assert ("All 2 files" in answer.text) == (not changed)


def test_a_model_exported_earlier_is_trained_on_by_its_own_project(console: ConsoleUnderTest) -> None:
    for project in ("default", "beta"):
        model_id, uri = f"m-{project}", console.store.uri(f"models/m-{project}/")
        console.hear(
            "model.exported",
            {"model_id": model_id, "task_id": "t-1", "project": project, "attempt": 1, "step": 9, "kind": "full",
             "uri": uri, "manifest_uri": uri + "manifest.json", "size_bytes": 5000, "base_model": "tiny@1"},
        )  # fmt: skip
        manifest: dict[str, object] = {
            "model_id": model_id, "task_id": "t-1", "project": project, "attempt": 1, "step": 9, "kind": "full",
            "schema_version": 2, "files": [], "kept": {"by": "last", "rank": 1, "steps": [9]}, "metrics": {},
            "lineage": {"base_model": "tiny", "base_version": "1", "context_length": 512},
        }  # fmt: skip
        console.store.objects[f"models/{model_id}/manifest.json"] = json.dumps(manifest).encode()
    again = {"model_id": "m-again", "task_id": "t-2", "project": "default", "attempt": 1, "step": 9, "kind": "full",
             "uri": "x://", "manifest_uri": "x://", "size_bytes": 1, "base_model": "m-default"}  # fmt: skip
    console.hear("model.exported", again)
    console.hear("model.exported", again | {"model_id": "m-ring", "base_model": "m-ring"})
    browser = console.operator()
    shown = browser.get("/tasks/new?project=default").text
    assert 'value="exported:m-default"' in shown
    assert 'value="exported:m-again"' in shown, "it is made of tiny, too"
    assert "m-ring" not in shown
    assert "m-beta" not in shown
    chosen = {"project": "default", "training_type": "FinetuneSft", "base_model": "exported:m-default"}
    assert 'placeholder="0.003"' in browser.get("/tasks/new/choices", params=chosen).text, "tiny's own learning rate"
    console.hear("dataset.validated", verdict("d-1"))
    fields = filled(shown, training_set="d-1")
    assert browser.post("/tasks", data=fields | {"base_model": "exported:m-default"}).status_code == 204
    assert console.said[-1].data["base_model"] == {"custom_model_id": "m-default"}
    refused = browser.post("/tasks", data=fields | {"base_model": "exported:m-beta"})
    assert (refused.status_code, "of another project" in refused.text) == (422, True)
