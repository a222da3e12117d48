"""One voice for all commands: what --help has, and how commands end that do not end by themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from handlers.errors import Unavailable
from worker.cli import app
from worker.kafka.broker import Brokers, BrokerUnavailable
from worker.kafka.topic_reader import NoSuchTopic
from worker.settings import SettingsError

ROOT = Path(__file__).parents[2]


def _no_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr("worker.letters.find", none)


def _leaves(group: Any = None, path: tuple[str, ...] = ("worker",)) -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(_leaves())
#: They say nothing that a program would read.
WITHOUT_JSON = {"worker run", "worker console", "worker completion"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_helped_with_in_one_style(name: str) -> None:
    result = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    heading = next(index for index, line in enumerate(lines) if line in ("  Example:", "  Examples:"))
    examples = lines[heading + 1 : lines.index("", heading)]
    assert all(line.startswith("    ") for line in examples)
    assert any(name in line for line in examples)
    assert "  Exit code 0" in result.stdout
    assert ("--json" in result.stdout) == (name not in WITHOUT_JSON)


@pytest.mark.parametrize("words", [[], ["topics"], ["dead-letters"], ["bucket"], ["tasks"], ["models"]])
def test_lists_of_commands_say_each_in_a_whole_sentence(words: list[str]) -> None:
    """A first sentence that does not fit into the list is cut by typer, and ends in dots."""
    listed = CliRunner().invoke(app, [*words, "--help"]).stdout.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


def _explained(error: Exception, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    async def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("worker.story.story_of", fails)
    monkeypatch.setenv("WORKER_STORAGE_URL", "file:///tmp")
    return CliRunner().invoke(app, list(words) or ["explain", "t-1"])


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the bucket does not answer"),
        BrokerUnavailable(Brokers("nowhere:9092")),
        SettingsError("WORKER_X must be y"),
        NoSuchTopic("the broker has no topic x"),
    ],
)
def test_what_could_not_be_done_is_one_line_and_exit_code_2(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    result = _explained(error, monkeypatch)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"worker explain: {error}\n")


def test_programs_read_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _explained(Unavailable("no bucket"), monkeypatch, "explain", "t-1", "--json")
    assert (result.exit_code, msgspec.json.decode(result.stdout)) == (2, {"error": "no bucket"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tasks", "list", "--phase", "X"), "no phase X; there are "),
        (("replay", "task.created", "--rate", "0"), "Invalid value for '--rate': "),
        (("replay", "task.creatd"), "no topic task.creatd"),
        (("publish", "task.creatd", __file__), "no topic 'task.creatd'; did you mean task.created?"),
        (("nosuch",), "No such command 'nosuch'"),
        (("explain", ""), "no id: ids are 1-128 characters of "),
        (("explain", "x" * 300), "no id: ids are 1-128 characters of "),
        (("tasks", "stop", "a/b"), "no id: ids are 1-128 characters of "),
        (("replay", "task.created", "--since", "2026-12-30", "--until", "2026-01-01"), "is not after --since"),
        (("dead-letters", "list", "--since", "2026-01-01", "--until", "2026-01-01"), "is not after --since"),
    ],
)
def test_a_command_line_that_is_none_is_exit_code_2_for_programs_too(words: tuple[str, ...], said: str) -> None:
    plain, result = CliRunner().invoke(app, words), CliRunner().invoke(app, [*words, "--json"])
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert (result.exit_code, said in msgspec.json.decode(result.stdout)["error"]) == (2, True)
    assert result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "nosuch"),
        ("tasks", "pause", "nosuch"),
        ("models", "show", "nosuch"),
        ("models", "download", "nosuch"),
        ("models", "tag", "production", "nosuch"),
        ("models", "untag", "refs/nosuch/production"),
        ("dead-letters", "show", "nosuch"),
        ("dead-letters", "retry", "nosuch"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_exit_code_1_of_every_command(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_letters(monkeypatch)
    result = CliRunner().invoke(app, [*words, "--json"], env={"WORKER_STORAGE_URL": tmp_path.as_uri()})
    assert result.exit_code == 1
    error = msgspec.json.decode(result.stdout)["error"]
    assert "nosuch" in error
    assert result.stderr == f"worker {' '.join(words[: 1 + (words[0] != 'explain')])}: {error}\n"


def test_a_command_in_a_group_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "many")
    result = CliRunner().invoke(app, ["dead-letters", "stopped", "--json"])
    assert result.exit_code == 2
    assert result.stderr.startswith("worker dead-letters stopped: WORKER_CONCURRENCY must be")


def test_a_bug_is_one_line_with_its_place_and_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _explained(KeyError("planted\nin two lines"), monkeypatch)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("worker explain: KeyError: 'planted")
    assert "worker/commands/explain.py:" in line
    assert "worker --debug explain t-1 shows its traceback" in line


def test_its_traceback_is_seen_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _explained(KeyError("planted"), monkeypatch, "--debug", "explain", "t-1")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("worker explain: KeyError: 'planted'")


@pytest.mark.parametrize(
    "words",
    [("validate", "nofile"), ("publish", "task.created", "nofile.json"), ("estimate", "nofile.json")],
    ids=lambda words: words[0],
)
def test_so_is_that_of_what_a_command_could_not_do(words: tuple[str, ...]) -> None:
    plain, debug = CliRunner().invoke(app, words), CliRunner().invoke(app, ["--debug", *words])
    assert (plain.exit_code, debug.exit_code) == (2, 2)
    (line,) = plain.stderr.splitlines()
    assert words[-1] in line
    assert "Traceback (most recent call last)" in debug.stderr
    assert line in debug.stderr.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "list"),
        ("tasks", "pause", "t-1"),
        ("explain", "t-1"),
        ("models", "untag", "refs/poems/production"),
        ("dead-letters", "list"),
        ("dead-letters", "show", "l-1"),
        ("dead-letters", "stopped"),
        ("dead-letters", "allow", "training-dispatch"),
    ],
    ids=" ".join,
)
def test_who_only_looks_makes_no_bucket(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_letters(monkeypatch)
    monkeypatch.setenv("WORKER_STORAGE_URL", (tmp_path / "a/bucket").as_uri())
    assert CliRunner().invoke(app, words).exit_code in (0, 1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a/bucket").write_text("no folder")
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, "WORKER_STORAGE_URL is " in refused.stderr) == (2, True)


def test_an_empty_bucket_is_named(tmp_path: Path) -> None:
    env = {"WORKER_STORAGE_URL": tmp_path.as_uri()}
    listed = CliRunner().invoke(app, ["tasks", "list"], env=env)
    assert (listed.exit_code, listed.stderr) == (0, f"no tasks in the bucket {tmp_path.as_uri()}\n")
    explained = CliRunner().invoke(app, ["explain", "t-1"], env=env)
    assert explained.exit_code == 1
    assert explained.stderr.endswith(f"there is no {tmp_path.as_uri()}/tasks/t-1/state.json\n")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}


@pytest.mark.parametrize("words", [("topics", "describe"), ("completion", "bash")])
def test_a_reader_who_leaves_is_no_error(words: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-m", "worker", *words],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=_environment(), cwd=ROOT,
    )  # fmt: skip
    os.close(write)
    assert (run.returncode, run.stderr) == (141, "")


#: The command line, in which explaining takes for ever and says when it has begun.
_ENDLESS = """
import asyncio, signal, sys
# Whoever starts the tests in the background may have Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
import worker.story
from worker.cli import main

async def begins(*_):
    print("begun", flush=True)
    await asyncio.Event().wait()

worker.story.story_of = begins
sys.argv = ["worker", "explain", "t-1"]
main()
"""


def test_ctrl_c_is_exit_code_130_without_a_word(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=_environment() | {"WORKER_STORAGE_URL": tmp_path.as_uri()},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "")


def _completed(words: str) -> list[str]:
    asked = {"_WORKER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    run = subprocess.run(
        [sys.executable, "-c", "from worker.cli import main; main()"],
        capture_output=True, text=True, check=False, env=_environment() | asked, cwd=ROOT,
    )  # fmt: skip
    return run.stdout.split()


def test_shells_are_told_how_to_complete_and_are_answered() -> None:
    script = CliRunner().invoke(app, ["completion", "bash"]).stdout
    assert "_WORKER_COMPLETE=complete_bash" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert _completed("worker --h") == ["--help"]


def test_a_shell_is_not_supported() -> None:
    assert CliRunner().invoke(app, ["completion", "csh"]).exit_code == 2
