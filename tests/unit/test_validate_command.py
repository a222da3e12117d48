"""``worker validate``: exit codes, what people and programs read, and what --fix does."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from worker.cli import app
from worker.validate.show import _bytes

GOOD = "".join(
    json.dumps({"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]}) + "\n"
    for n in range(12)
)
BAD = '{"messages": [{"role": "usr", "content": "孤灯照不寐"}, {"role": "assistant", "content": "多少关心事"}]}\n'


def validate(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["validate", *map(str, arguments)])


def as_json(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(validate(*arguments, "--json").stdout)
    return found


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.jsonl", GOOD)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    return write(tmp_path / "bad.jsonl", GOOD + BAD * 3)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_valid_file_is_exit_code_0(good: Path) -> None:
    result = validate(good)
    assert result.exit_code == 0
    assert result.stdout.startswith("valid: 12 of 12 samples valid, format sft, 1 file,")
    assert result.stderr == ""


def test_an_invalid_file_is_exit_code_1_and_its_places_are_quoted(bad: Path) -> None:
    result = validate(bad)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{bad}:13 /messages/0/role error unknown-role 'usr' is not a role; did you mean 'user'?"
    assert lines[2].index("^") == lines[1].index('"usr"')
    assert "unknown-role x3" in result.stdout
    assert "\x1b[" not in result.stdout


def test_a_caret_behind_chinese_counts_columns(tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "多少关心事"}, {"role": "model", "content": "好"}]}\n'
    quoted, caret = validate(write(tmp_path / "wide.jsonl", line)).stdout.splitlines()[1:3]
    before = quoted[: quoted.index('"model"')]
    assert caret.index("^") == len(before) + sum(1 for character in before if character > "⺀")
    assert caret.index("^") < 100


def test_a_line_cannot_steer_the_terminal(tmp_path: Path) -> None:
    line = '{"messages": [{"role": "user", "content": "\x7f\u202e"}, {"role": "\u009b31m", "content": "a"}]}\n'
    out = validate(write(tmp_path / "evil.jsonl", line)).stdout
    assert not {"\x7f", "\u202e", "\u009b"} & set(out)


def test_the_json_is_one_object_with_these_fields(bad: Path) -> None:
    result = validate(bad, "--json")
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    assert found == {
        "valid": False,
        "format": "sft",
        "files": [str(bad)],
        "samples": 15,
        "valid_samples": 12,
        "findings": [
            {
                "line": line,
                "pointer": "/messages/0/role",
                "code": "unknown-role",
                "severity": "error",
                "message": "'usr' is not a role",
                "hint": "did you mean 'user'?",
            }
            for line in (13, 14, 15)
        ],
        "totals": {"unknown-role": 3},
        "tokens": None,
        "sha256": {str(bad): hashlib.sha256(bad.read_bytes()).hexdigest()},
    }


def test_findings_are_capped_a_code_and_totals_are_not(tmp_path: Path) -> None:
    path = write(tmp_path / "many.jsonl", BAD * 50)
    assert [len(as_json(path)["findings"]), as_json(path)["totals"]["unknown-role"]] == [20, 50]
    assert len(as_json(path, "--max-per-code", "30")["findings"]) == 30
    assert as_json(path, "--max-per-code", "0")["findings"] == []
    assert "... and 49 more unknown-role" in validate(path, "--max-per-code", "1").stdout


def test_a_directory_is_one_dataset_of_its_jsonl_files(tmp_path: Path, bad: Path, good: Path) -> None:
    write(tmp_path / "notes.json", "not a sample")
    write(tmp_path / ".hidden", "not a sample")
    (tmp_path / "old.jsonl").mkdir()
    found = as_json(tmp_path)
    assert validate(tmp_path).stderr == f"{tmp_path}: skipped what is no *.jsonl file: notes.json, old.jsonl/\n"
    assert found["files"] == [str(bad), str(good)]
    assert (found["samples"], found["valid_samples"]) == (27, 24)
    assert {(finding["file"], finding["code"]) for finding in found["findings"]} == {
        (str(bad), "unknown-role"),
        (str(good), "duplicate-sample"),
    }
    assert set(found["sha256"]) == {str(bad), str(good)}
    assert as_json(bad, good)["totals"] == found["totals"]


def test_copies_name_the_file_that_has_the_original(tmp_path: Path, good: Path) -> None:
    copy, some = write(tmp_path / "copy.jsonl", GOOD), write(tmp_path / "some.jsonl", GOOD.splitlines()[2] + "\n")
    report = tmp_path / "all.ndjson"
    found = as_json(good, copy, some, "--report", report)
    messages = [f"the whole file is the same as {good}", f"the same as line 3 of {good}"]
    assert [finding["message"] for finding in found["findings"]] == messages
    assert [json.loads(line)["message"] for line in report.read_text().splitlines()] == messages
    assert f"{some}:1 warning duplicate-sample the same as line 3 of {good}; " in validate(good, copy, some).stdout


def test_a_file_of_another_format_than_the_dataset_is_named_once(tmp_path: Path, good: Path) -> None:
    stranger = write(tmp_path / "text.jsonl", '{"text": "孤灯照不寐"}\n' * 3)
    report = tmp_path / "all.ndjson"
    found = as_json(good, stranger, "--report", report)
    assert found["totals"] == {"wrong-format": 1}
    assert [json.loads(line)["file"] for line in report.read_text().splitlines()] == [str(stranger)]


def test_the_report_has_every_finding(tmp_path: Path) -> None:
    report = tmp_path / "all.ndjson"
    path = write(tmp_path / "many.jsonl", BAD * 50)
    assert validate(path, "--report", report).exit_code == 1
    findings = [json.loads(line) for line in report.read_text().splitlines()]
    assert [finding["line"] for finding in findings if finding["code"] == "unknown-role"] == list(range(1, 51))
    assert set(findings[0]) == {"line", "pointer", "code", "severity", "message", "hint"}


def test_an_empty_file_is_invalid(tmp_path: Path) -> None:
    result = validate(write(tmp_path / "empty.jsonl", ""), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["totals"] == {"empty-file": 1}


def test_every_missing_file_is_named_and_is_exit_code_2(tmp_path: Path, good: Path) -> None:
    result = validate(tmp_path / "a.jsonl", good, tmp_path / "b.jsonl", "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["valid"] is None
    for text in (found["error"], result.stderr):
        assert "a.jsonl: No such file" in text
        assert "b.jsonl: No such file" in text
    assert validate(tmp_path / "a.jsonl").stdout == ""


def test_an_empty_path_is_not_the_current_directory(good: Path) -> None:
    result = validate("", good)
    assert result.exit_code == 2
    assert "one of the paths is empty" in result.stderr


def test_a_directory_without_files_is_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    result = validate(tmp_path)
    assert result.exit_code == 2
    assert "no *.jsonl files in this directory; there are folder.jsonl/" in result.stderr


def test_an_option_that_does_not_exist_is_exit_code_2(good: Path) -> None:
    assert validate(good, "--format", "alpaca").exit_code == 2


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (90, "90 bytes"), (7810, "7.81 kB"), (999_600, "1 MB"), (1_234_567_890_123, "1235 GB")],
)
def test_sizes_are_written_as_people_do(size: int, shown: str) -> None:
    assert _bytes(size) == shown


def test_a_speed_is_said_only_of_what_takes_a_while(tmp_path: Path, good: Path) -> None:
    assert validate(good).stdout.splitlines()[0].endswith("1 file, 1.08 kB")
    large = write(tmp_path / "large.jsonl", '{"text": "' + "x" * 1_100_000 + '"}\n')
    assert re.search(r"1 file, 1\.1 MB at [0-9.]+ [kMG]B/s\n", validate(large).stdout)


def test_what_is_about_the_dataset_is_said_after_its_files_and_of_no_line(tmp_path: Path) -> None:
    path = write(tmp_path / "few.jsonl", BAD + "\n".join(GOOD.splitlines()[:3]) + "\n")
    lines = validate(path).stdout.splitlines()
    assert lines[0].startswith(f"{path}:1 /messages/0/role error unknown-role")
    assert lines[3].startswith("the dataset: warning too-few-samples 4 samples in the whole dataset; ")
    assert lines[4].startswith("invalid: 3 of 4")


def test_a_uri_must_be_in_the_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = tmp_path / "bucket"
    (bucket / "uploads").mkdir(parents=True)
    write(bucket / "uploads" / "a.jsonl", GOOD)
    monkeypatch.setenv("WORKER_STORAGE_URL", bucket.as_uri())
    uri = f"{bucket.as_uri()}/uploads/a.jsonl"
    assert as_json(uri)["files"] == [uri]
    assert validate(f"{bucket.as_uri()}/uploads/b.jsonl").exit_code == 2
    outside = validate((tmp_path / "elsewhere.jsonl").as_uri())
    assert outside.exit_code == 2
    assert "not in the bucket" in outside.stderr


def test_a_pipe_is_read_once() -> None:
    command = [sys.executable, "-m", "worker", "validate", "/dev/stdin"]
    run = subprocess.run(command, input=(GOOD + BAD).encode(), capture_output=True, check=False)
    assert run.returncode == 1
    assert b"/dev/stdin:13 /messages/0/role error unknown-role" in run.stdout


def test_the_command_line_starts_without_the_brokers_client() -> None:
    heavy = "{'faststream', 'aiokafka', 'aioboto3', 'structlog', 'torch'}"
    code = f"import sys, worker.cli; sys.exit(', '.join({heavy} & set(sys.modules)) or None)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=dict(os.environ))
    assert (run.returncode, run.stderr) == (0, b"")


def test_an_unknown_format_is_answered_in_the_words_of_every_choice() -> None:
    said = CliRunner().invoke(app, ["validate", "--format", "sftt", "a.jsonl"])
    assert said.exit_code == 2
    assert "Invalid value for '--format': 'sftt' is not one of 'auto', 'sft'" in said.stderr
