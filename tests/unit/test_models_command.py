"""worker models list, show and download."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts.gguf import Gguf
from contracts.model import Kept
from tests.exported import TOKENIZER, WEIGHTS, contents, export, safetensors
from tests.fakes.gguf import gguf
from worker.cli import app
from worker.models.source import FolderSource


def models(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def as_json(*arguments: str | Path) -> Any:
    return json.loads(models(*arguments, "--json").stdout)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKER_STORAGE_URL", (tmp_path / "bucket").as_uri())
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


# --- list and show ---------------------------------------------------------------------------------------------


def test_the_models_of_a_repository_are_listed_with_what_they_are(bucket: Path) -> None:
    export(bucket / "models/b", project="poems", metrics={"loss": 0.5, "validation_loss": 0.25})
    merged = contents() | {"merged/model.safetensors": safetensors()}
    export(bucket / "models/a", merged, kind="adapter")
    (bucket / "models/c").mkdir()
    (bucket / "models/c/model.safetensors").write_bytes(b"unfinished")
    first, second, third = as_json("list")["models"]
    assert (first["model_id"], first["kind"], first["merged"], first["complete"]) == ("a", "adapter", True, True)
    assert (second["model_id"], second["validation_loss"], second["base_model"]) == ("b", 0.25, "tiny@1")
    assert (third["model_id"], third["complete"], third["size_bytes"]) == ("c", False, 10)
    assert [entry["model_id"] for entry in as_json("list", "--project", "poems")["models"]] == ["b"]
    assert as_json("list", bucket / "models") == as_json("list") == as_json("list", (bucket / "models").as_uri())
    lines = models("list").stdout
    assert "adapter, merged of tiny@1, step 10" in lines
    assert "incomplete: no usable manifest" in lines


def test_a_bucket_without_models_has_none_and_one_that_is_not_there_is_said(bucket: Path) -> None:
    assert as_json("list") == {"models": []}
    bucket.rmdir()
    result = models("list")
    assert result.exit_code == 2
    assert "no such folder" in result.stderr
    assert not bucket.exists()


def test_a_model_is_shown_with_why_it_was_kept_and_every_file(bucket: Path) -> None:
    export(bucket / "models/m", kept=Kept(by="validation-loss", rank=2, steps=(10, 40), distance=30))
    shown = models("show", "m").stdout
    assert "number 2 of 2 by validation loss, 30 steps from the next" in shown
    assert "tokenizer.json" in shown
    assert as_json("show", "m")["files"][0].keys() == {"path", "mediaType", "digest", "size"}
    assert "  base       tiny@1  revision not known" in shown
    (bucket / "models/cut").mkdir()
    (bucket / "models/cut/model.safetensors").write_bytes(b"unfinished")
    unfinished = models("show", "cut")
    assert unfinished.exit_code == 1
    assert "manifest.json" in unfinished.stderr


def test_a_model_is_shown_with_its_gguf_file_or_why_it_has_none(bucket: Path) -> None:
    made = Gguf(status="made", type="bf16", path="model.gguf")
    export(bucket / "models/m", contents() | {"model.gguf": gguf()}, gguf=made)
    assert "  gguf       model.gguf, bf16\n" in models("show", "m").stdout
    why = "the converter ended with 1: \x1b[2J"
    export(bucket / "models/n", gguf=Gguf(status="not-made", type="f16", reason="converter-failed", message=why))
    shown = models("show", "n").stdout
    assert "  gguf       none: converter-failed: the converter ended with 1: " in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("command", ["show", "verify", "download"])
@pytest.mark.parametrize("asked", ["nonsense", "./nonsense", "file:///nonsense", "x" * 300, ""])
def test_a_model_that_is_not_there_is_said_in_one_wording_with_one_code(bucket: Path, command: str, asked: str) -> None:
    assert bucket.is_dir()
    missing = models(command, asked)
    assert missing.exit_code == 1
    assert f"worker models {command}: no model {asked or repr(asked)} (" in missing.stderr
    assert missing.stderr.endswith("); worker models list shows the models there are\n")


def test_a_model_of_an_exported_one_is_shown_and_listed_as_that(bucket: Path) -> None:
    base = {"model_id": "first", "revision": "sha256:" + "ab" * 32}
    lineage = {"base_model": "tiny", "base_version": "1", "base": base}
    training = [{"dataset_id": "poems", "samples": 1, "files": [{"uri": "u"}]}]
    export(bucket / "models/m", lineage=lineage | {"training": training})
    shown = models("show", "m").stdout
    assert f"  base       first, made of tiny@1  sha256:{'ab' * 32}" in shown
    assert "  dataset    poems: 1 sample in 1 file" in shown
    assert "full of first, step 10" in models("list").stdout


@pytest.mark.parametrize(
    "lineage", [{}, {"base_model": 1, "base_version": []}, {"base_model": "t", "base_version": "1", "training": [{}]}]
)
def test_a_lineage_that_says_something_else_is_no_crash(bucket: Path, lineage: dict[str, Any]) -> None:
    export(bucket / "models/m", lineage=lineage)
    shown = models("show", "m")
    assert (shown.exit_code, "not as the export stage writes it" in shown.stdout) == (0, True)
    assert "full of an unknown base, step 10" in models("list").stdout


def test_what_a_manifest_says_moves_no_cursor(bucket: Path) -> None:
    export(bucket / "models/m", lineage={"base_model": "\x1b[2Jtiny", "base_version": "1", "executor": "\x1b]0;x"})
    assert "\x1b" not in models("show", "m").stdout + models("list").stdout


# --- download --------------------------------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_brought_whole_into_a_new_folder_and_left_alone_the_second_time(
    bucket: Path, tmp_path: Path
) -> None:
    source = export(bucket / "models/m", contents() | {"merged/model.safetensors": safetensors()})
    said = as_json("download", "m", "--to", tmp_path / "here")
    assert said["path"] == str(tmp_path / "here")
    assert said["fetched_bytes"] == said["size_bytes"] > 0
    assert files_of(tmp_path / "here") == files_of(source)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    again = as_json("download", "m", "--to", tmp_path / "here")
    assert (again["path"], again["fetched_bytes"]) == (said["path"], 0)


def test_a_download_that_was_cut_short_goes_on_with_what_came_whole(
    bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(bucket / "models/m")
    fetch = FolderSource.fetch
    fetched: list[str] = []

    async def cut(self: FolderSource, path: str, target: Path) -> None:
        if path == "config.json" and len(fetched) == 2:
            raise KeyboardInterrupt
        fetched.append(path)
        await fetch(self, path, target)

    monkeypatch.setattr(FolderSource, "fetch", cut)
    assert models("download", "m", "--to", tmp_path / "here").exit_code == 130
    assert not (tmp_path / "here").exists()
    partial = tmp_path / ".here.partial"
    # What came is looked at again: somebody may have had his hands on it. What is none of the model's goes.
    (partial / TOKENIZER).write_bytes(b"other")
    (partial / "extra.json").write_text("{}")
    fetched.clear()
    fetched += ["", "", ""]
    said = as_json("download", "m", "--to", tmp_path / "here")
    assert WEIGHTS not in fetched
    assert {TOKENIZER, "config.json"} <= set(fetched)
    assert said["fetched_bytes"] < said["size_bytes"]
    assert "extra.json" not in files_of(tmp_path / "here")


@pytest.mark.parametrize(
    ("name", "body"), [(WEIGHTS, safetensors(bytes(16))), (TOKENIZER, None)], ids=["tampered", "missing"]
)
def test_what_is_not_as_the_manifest_says_gets_no_name(
    bucket: Path, tmp_path: Path, name: str, body: bytes | None
) -> None:
    source = export(bucket / "models/m")
    (source / name).unlink()
    if body is not None:
        (source / name).write_bytes(body)
    result = models("download", "m", "--to", tmp_path / "here")
    assert result.exit_code == 1
    assert name in result.stderr
    assert not (tmp_path / "here").exists()
    export(bucket / "models/m")
    assert models("download", "m", "--to", tmp_path / "here").exit_code == 0


def test_what_is_there_already_is_never_written_over(bucket: Path, tmp_path: Path) -> None:
    export(bucket / "models/m")
    other = export(tmp_path / "other", model_id="another")
    file = tmp_path / "file"
    file.write_text("mine")
    broken = export(tmp_path / "broken", model_id="m")
    flipped = broken / WEIGHTS
    flipped.write_bytes(safetensors(bytes(16)))
    before = files_of(tmp_path)
    for target, why in ((other, "is not this model"), (file, "no folder"), (broken, "not intact (model.safetensors)")):
        result = models("download", "m", "--to", target)
        assert result.exit_code == 2
        assert why in result.stderr
    assert files_of(tmp_path) == before


def test_two_downloads_into_one_folder_do_not_mix(bucket: Path, tmp_path: Path) -> None:
    export(bucket / "models/m")
    partial = tmp_path / ".here.partial"
    partial.mkdir()
    held = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = models("download", "m", "--to", tmp_path / "here")
        assert result.exit_code == 2
        assert "another download is under way" in result.stderr
    finally:
        os.close(held)
    assert models("download", "m", "--to", tmp_path / "here").exit_code == 0
