"""``worker validate`` between pipes and devices: they are read and written, and never replaced by a file."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.test_validate_command import BAD, GOOD


def validate(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", "validate", *map(str, arguments)]
    environment = dict(os.environ, COLUMNS="100")
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jsonl"
    path.write_text(GOOD + BAD)
    return path


def test_a_dash_is_standard_input_with_its_places_quoted() -> None:
    run = validate("-", given=GOOD + BAD)
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert lines[0].startswith("-:13 /messages/0/role error unknown-role")
    assert lines[2].index("^") == lines[1].index('"usr"')


def test_standard_input_can_be_read_once() -> None:
    run = validate("-", "-", given=GOOD)
    assert run.returncode == 2
    assert "read once" in run.stderr


def test_as_a_filter_it_corrects_standard_input_into_standard_output() -> None:
    run = validate("-", "--fix", "-", given="\n" + GOOD + BAD)
    assert (run.returncode, run.stdout) == (1, GOOD + BAD)
    assert "-:1: removed a blank line" in run.stderr
    assert "-:13 /messages/0/role error unknown-role" in run.stderr


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_the_report_on_standard_output_is_all_there_is_on_it(bad: Path, target: str) -> None:
    run = validate(bad, "--report", target)
    assert run.returncode == 1
    assert [json.loads(line)["code"] for line in run.stdout.splitlines()] == ["unknown-role"]
    assert "invalid: 12 of 13" in run.stderr


def test_standard_output_that_is_a_file_is_appended_to_not_replaced(bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    with out.open("w") as stream:
        stream.write("before\n")
        stream.flush()
        command = [sys.executable, "-m", "worker", "validate", str(bad), "--report", "/dev/stdout"]
        subprocess.run(command, stdout=stream, stderr=subprocess.DEVNULL, check=False)
    first, second = out.read_text().splitlines()
    assert first == "before"
    assert json.loads(second)["code"] == "unknown-role"


def test_a_corrected_copy_is_appended_to_standard_output_that_is_a_file(tmp_path: Path) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n" + GOOD)
    command = [sys.executable, "-m", "worker", "validate", str(source), "--fix", "-"]
    with out.open("w") as stream:
        for _ in range(2):
            assert subprocess.run(command, stdout=stream, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert out.read_text() == GOOD + GOOD
    with source.open("a") as stream:
        refused = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
    assert (refused.returncode, source.read_text()) == (2, "\n" + GOOD)
    assert "never overwritten" in refused.stderr


@pytest.mark.parametrize("option", ["--report", "--fix"])
def test_a_device_stays_a_device(bad: Path, tmp_path: Path, option: str) -> None:
    # As /dev/null and /dev/stdout are to root: a name in a folder that can be written to, and no plain file.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    run = validate(bad, option, pipe)
    reader.join(30)
    assert run.returncode == 1
    assert pipe.is_fifo()
    assert BAD in read[0] if option == "--fix" else '"unknown-role"' in read[0]
    assert "invalid: 12 of 13" in run.stdout


def test_what_a_link_leads_to_is_replaced_and_not_the_link(bad: Path, tmp_path: Path) -> None:
    report, link = tmp_path / "report.ndjson", tmp_path / "link"
    report.write_text("old")
    link.symlink_to(report)
    assert validate(bad, "--report", link).returncode == 1
    assert link.is_symlink()
    assert json.loads(report.read_text())["code"] == "unknown-role"


@pytest.mark.parametrize(
    "arguments",
    [["--report", "-", "--json"], ["--fix", "-", "--json"], ["--fix", "-", "--report", "/dev/stdout"]],
)
def test_standard_output_takes_one_thing(bad: Path, arguments: list[str]) -> None:
    run = validate(bad, *arguments)
    assert run.returncode == 2
    assert "both go to" in run.stderr or "printed on stdout" in run.stderr


def test_tokens_of_standard_input_are_counted_beside_a_report_on_standard_output() -> None:
    given = GOOD + BAD.replace('"usr"', '"user"').replace("孤灯照不寐", "long " * 400)
    run = validate("-", "--model", "tiny", "--report", "-", given=given)
    assert [json.loads(line)["code"] for line in run.stdout.splitlines()] == ["sample-too-long"]
    assert "-:13 error sample-too-long" in run.stderr
    assert "in 12 samples" in run.stderr


def test_several_files_are_not_corrected_into_one_stream(bad: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(GOOD)
    run = validate(bad, other, "--fix", "-")
    assert run.returncode == 2
    assert "into a directory" in run.stderr


def test_a_file_may_be_called_a_dash(bad: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "validate", str(bad), "--report", "./-"]
    subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
    assert json.loads((tmp_path / "-").read_text())["code"] == "unknown-role"
