"""worker models verify: every way of tampering is found, and named by its file; nothing broken is ever loaded."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from contracts.gguf import GGUF_FILE, Gguf
from contracts.probe import PROBE_FILE
from tests.exported import TOKENIZER, WEIGHTS, contents, export, probe, safetensors
from tests.fakes.gguf import gguf
from worker.cli import app
from worker.models import loading
from worker.models.loading import Loaded
from worker.models.safetensors_header import BrokenSafetensors, check_header


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A machine with the trainer's libraries, on which every model repeats its probe; returns what was loaded."""
    loaded: list[dict[str, Any]] = []

    def load(folder: Path, _: Any, **where: Any) -> Loaded:
        loaded.append({"folder": folder, **where})
        return Loaded(outcome="repeated", difference=2e-7)

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(loading, "can_load", lambda: True)
    return loaded


def verify(folder: Path | str, *options: str) -> Result:
    return CliRunner().invoke(app, ["models", "verify", str(folder), *options])


def verdict(folder: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(verify(folder, "--json").stdout)
    return found


def problems(folder: Path) -> set[tuple[str, str]]:
    return {(problem["path"], problem["code"]) for problem in verdict(folder)["problems"]}


def zipped() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": 1}))
    return whole.getvalue()


def test_an_intact_model_is_verified(tmp_path: Path, loads: list[dict[str, Any]]) -> None:
    folder = export(tmp_path / "m")
    result = verify(folder)
    assert result.exit_code == 0, result.output
    assert "verified: m: 6 files" in result.stdout
    assert "2e-07" in result.stdout
    said = verdict(folder)
    assert (said["verified"], said["model_id"], said["problems"], said["unchecked"]) == (True, "m", [], [])
    assert loads[0] == {"folder": folder, "base": None, "base_prefix": None}


def test_a_model_with_a_gguf_file_or_a_reason_for_none_is_verified(tmp_path: Path) -> None:
    made = Gguf(status="made", type="f16", path=GGUF_FILE)
    assert verify(export(tmp_path / "m", contents() | {GGUF_FILE: gguf()}, gguf=made)).exit_code == 0
    none = Gguf(status="not-made", type="f16", reason="no-converter", message="there is none")
    assert verify(export(tmp_path / "n", gguf=none)).exit_code == 0


def flip(path: Path, place: int) -> None:
    body = bytearray(path.read_bytes())
    body[place] ^= 1
    path.write_bytes(body)


def put(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


TAMPERED: dict[str, tuple[Callable[[Path], Any], tuple[str, str]]] = {
    "a flipped bit in the weights": (lambda m: flip(m / WEIGHTS, -1), (WEIGHTS, "wrong-digest")),
    "a flipped bit in the card": (lambda m: flip(m / "README.md", 0), ("README.md", "wrong-digest")),
    "a missing file": (lambda m: (m / "config.json").unlink(), ("config.json", "missing")),
    "an extra file": (lambda m: (m / "more.json").write_text("{}"), ("more.json", "extra")),
    "an extra file in a folder": (lambda m: put(m / "x/.hidden", ""), ("x/.hidden", "extra")),
    "a swapped tokenizer": (lambda m: (m / TOKENIZER).write_text('{"model": []}'), (TOKENIZER, "wrong-digest")),
    "a swapped chat template": (
        lambda m: (m / "chat_template.jinja").write_text("{{ message! }}"),
        ("chat_template.jinja", "wrong-digest"),
    ),
    "cut weights": (lambda m: (m / WEIGHTS).write_bytes(safetensors()[:-1]), (WEIGHTS, "wrong-size")),
    "a link": (lambda m: link(m / "config.json"), ("config.json", "link")),
    "a linked folder": (lambda m: (m / "more").symlink_to("/usr"), ("more", "link")),
    "no manifest": (lambda m: (m / "manifest.json").unlink(), ("manifest.json", "missing")),
    "a manifest that is none": (
        lambda m: (m / "manifest.json").write_text('{"files": 1}'),
        ("manifest.json", "broken-manifest"),
    ),
}


@pytest.mark.parametrize(("tamper", "expected"), TAMPERED.values(), ids=TAMPERED)
def test_every_tampering_is_found_and_named(
    tmp_path: Path, loads: list[dict[str, Any]], tamper: Callable[[Path], Any], expected: tuple[str, str]
) -> None:
    folder = export(tmp_path / "m")
    tamper(folder)
    assert expected in problems(folder)
    result = verify(folder)
    assert result.exit_code == 1
    assert f"{expected[0]}: {expected[1]}: " in result.stdout
    assert {path for path, _ in problems(folder)} == {expected[0]}
    assert loads == []


#: What an export of somebody who also wrote the manifest may hold: its digests are right.
CONSISTENT: dict[str, tuple[dict[str, bytes], tuple[str, str]]] = {
    "a pickle called safetensors": ({WEIGHTS: pickle.dumps({"w": 1})}, (WEIGHTS, "pickle")),
    "an old pickle called safetensors": ({WEIGHTS: pickle.dumps({"w": 1}, 0)}, (WEIGHTS, "broken-safetensors")),
    "what torch.save writes, called safetensors": ({WEIGHTS: zipped()}, (WEIGHTS, "pickle")),
    "a pickle called JSON": ({"config.json": pickle.dumps({})}, ("config.json", "pickle")),
    "a pickle called a tokenizer": ({"tokenizer.model": pickle.dumps({})}, ("tokenizer.model", "pickle")),
    "a pickle under its own name": ({"pytorch_model.bin": zipped()}, ("pytorch_model.bin", "pickle")),
    "code": ({"modeling.py": b"import os"}, ("modeling.py", "unknown-kind")),
    "a cut header": ({WEIGHTS: safetensors()[:20]}, (WEIGHTS, "broken-safetensors")),
    "an empty file of weights": ({WEIGHTS: b""}, (WEIGHTS, "broken-safetensors")),
    "JSON that is none": ({"config.json": b"{"}, ("config.json", "not-json")),
    "a GGUF file that is cut": ({"model.gguf": gguf()[:-1]}, ("model.gguf", "broken-gguf")),
    "a pickle called GGUF": ({"model.gguf": pickle.dumps({})}, ("model.gguf", "pickle")),
    "a card that is no text": ({"README.md": b"\xff"}, ("README.md", "not-text")),
    "a probe that is none": ({PROBE_FILE: b"{}"}, (PROBE_FILE, "broken-probe")),
}


@pytest.mark.parametrize(("changes", "expected"), CONSISTENT.values(), ids=CONSISTENT)
def test_what_runs_code_or_is_not_what_it_is_called_is_found_whatever_the_manifest_says(
    tmp_path: Path, loads: list[dict[str, Any]], changes: dict[str, bytes], expected: tuple[str, str]
) -> None:
    folder = export(tmp_path / "m", contents() | changes)
    assert problems(folder) == {expected}
    assert verify(folder).exit_code == 1
    assert loads == []


W = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
HEADERS: dict[str, tuple[bytes, str]] = {
    "longer than the file": ((1 << 40).to_bytes(8, "little") + b"{}", "should have"),
    "not JSON": ((2).to_bytes(8, "little") + b"{[", "cannot be read"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "no JSON object"),
    "a name twice": ((14).to_bytes(8, "little") + b'{"a":1,"a":22}', "twice"),
    "an unknown type": (safetensors(w=W | {"dtype": "OBJECT"}), "unknown type"),
    "too short for its shape": (safetensors(w=W | {"shape": [5]}), "do not have"),
    "a negative side": (safetensors(w=W | {"shape": [-4]}), "not described"),
    "a side that is true": (safetensors(w=W | {"shape": [True, 4]}), "not described"),
    "beyond the end": (safetensors(w=W | {"shape": [5], "data_offsets": [0, 20]}), "20 bytes, and 16"),
    "bytes of nobody": (safetensors(bytes(17)), "16 bytes, and 17"),
    "a hole": (safetensors(w=W | {"shape": [3], "data_offsets": [4, 16]}), "ends at 0"),
    "one over the other": (safetensors(w=W, v=W), "ends at 16"),
    "metadata that are no text": (safetensors(__metadata__={"a": 1}, w=W), "metadata"),
}


@pytest.mark.parametrize(("body", "why"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_not_about_its_file_is_found(tmp_path: Path, body: bytes, why: str) -> None:
    (tmp_path / "w").write_bytes(body)
    with pytest.raises(BrokenSafetensors, match=why):
        check_header(tmp_path / "w")


def test_a_header_without_fault_passes(tmp_path: Path) -> None:
    second = {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]}
    (tmp_path / "w").write_bytes(safetensors(bytes(18), __metadata__={"format": "pt"}, w=W, v=second))
    assert check_header(tmp_path / "w") == 2


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "of another version": ({"schema_version": 1}, "Invalid enum value 1"),
    "a path upwards": ({"files": [{"path": "../x.json"}]}, "leads out"),
    "an absolute path": ({"files": [{"path": "/etc/passwd"}]}, "leads out"),
    "itself": ({"files": [{"path": "manifest.json"}]}, "names itself"),
    "a file twice": ({"files": [{"path": "a.json"}, {"path": "a.json"}]}, "more than once"),
    "no weights": ({"files": [{"path": "a.json"}]}, "no weights"),
    "a probe that is not there": ({"probe": {"path": "other.json", "tolerance": 1e-3}}, "none of its files"),
    "a GGUF that is not there": ({"gguf": {"status": "made", "type": "f16", "path": "m"}}, "none of its files"),
    "a digest of another kind": ({"files": [{"path": "a", "digest": "md5:00"}]}, "digest"),
    "a tokenizer of another digest": ({"lineage": {"tokenizer": {"tokenizer.json": "sha256:0"}}}, "another digest of"),
    "a step that was not kept": ({"step": 11}, "none of those that were kept"),
}


@pytest.mark.parametrize(("changes", "why"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_s_own_shape_is_checked(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    folder = export(tmp_path / "m")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    template = {"mediaType": "t", "digest": "sha256:" + "0" * 64, "size": 1}
    changes = {
        name: [template | file for file in value] if name == "files" else value for name, value in changes.items()
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    (problem, *_) = verdict(folder)["problems"]
    assert (problem["path"], problem["code"]) == ("manifest.json", "broken-manifest")
    assert why in verify(folder).stdout
    assert verify(folder).exit_code == 1


# --- loading ---------------------------------------------------------------------------------------------------


def test_without_the_trainer_s_libraries_it_says_what_it_could_not_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(loading, "can_load", lambda: False)
    folder = export(tmp_path / "m")
    result = verify(folder)
    assert result.exit_code == 2
    assert "not checked: that it loads and repeats its probe: the extra trainer is not installed" in result.stdout
    assert "what was checked is intact" in result.stdout
    (folder / "config.json").unlink()
    assert verify(folder).exit_code == 1


@pytest.mark.parametrize(
    ("loaded", "code", "says"),
    [
        (Loaded(outcome="unloadable", faults=("no such layer",)), 1, "unloadable: no such layer"),
        (Loaded(outcome="differs", difference=0.5, faults=("sample 1 is 0.5 off",)), 1, "probe.json: probe-differs"),
        (Loaded(outcome="no-base", faults=("tiny is gone",)), 2, "give --base FOLDER"),
        (Loaded(outcome="not-tried", faults=("it was killed",)), 2, "not checked: that it loads and repeats"),
    ],
)
def test_what_becomes_of_loading_decides_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: Loaded, code: int, says: str
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_, **__: loaded)
    result = verify(export(tmp_path / "m"))
    assert (result.exit_code, says in result.stdout) == (code, True), result.stdout


def test_a_model_without_a_probe_cannot_be_verified_wholly(tmp_path: Path, loads: list[dict[str, Any]]) -> None:
    files = contents()
    del files[PROBE_FILE]
    result = verify(export(tmp_path / "m", files))
    assert result.exit_code == 2
    assert "exported without a probe" in result.stdout
    assert loads == []


def test_an_adapter_is_loaded_on_its_base(tmp_path: Path, loads: list[dict[str, Any]]) -> None:
    folder = export(tmp_path / "m", kind="adapter")
    assert verify(folder).exit_code == 0
    assert verify(folder, "--base", str(tmp_path)).exit_code == 0
    assert [(each["base"], each["base_prefix"]) for each in loads] == [(None, "base-models/tiny/1/"), (tmp_path, None)]


def test_a_tolerance_that_was_widened_in_the_probe_alone_is_found(tmp_path: Path) -> None:
    wide = msgspec.structs.replace(probe(), tolerance=10.0)
    folder = export(tmp_path / "m", contents() | {PROBE_FILE: msgspec.json.encode(wide)})
    assert problems(folder) == {(PROBE_FILE, "broken-probe")}


# --- places ----------------------------------------------------------------------------------------------------


def test_a_model_is_found_by_its_id_by_a_path_and_by_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", tmp_path.as_uri())
    folder = export(tmp_path / "models/t-1-step10")
    before = sorted(tmp_path.rglob("*"))
    for asked in ("t-1-step10", folder, folder.as_uri()):
        assert verify(asked).exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_under_another_s_name_is_found_where_it_was_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", tmp_path.as_uri())
    export(tmp_path / "models/good", model_id="bad")
    result = verify("good")
    assert result.exit_code == 1
    assert "manifest.json: broken-manifest: it is of the model bad, not of good" in result.stdout


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("no-such-model", 1),
        ("./nowhere", 1),
        ("file:///nowhere/at/all", 1),
        ("refs/poems/nothing", 1),
        ("http://host/m", 2),
        ("s3:///m", 2),
    ],
)
def test_of_what_is_not_there_nothing_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, code: int
) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", tmp_path.as_uri())
    result = verify(asked, "--json")
    assert result.exit_code == code, result.output
