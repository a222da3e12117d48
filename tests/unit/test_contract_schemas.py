"""The committed schemas follow the contracts, and a breaking change needs a new version."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from msgspec import defstruct

from contracts.schema.__main__ import main
from contracts.schema.derive import topic_schema
from contracts.topics import TOPICS, Topic

Capture = pytest.CaptureFixture[str]
ORDER: dict[str, Any] = {"order_id": str, "kind": Literal["book", "record"], "note": (str, "")}


def _topic(
    fields: dict[str, Any], version: int = 1, publisher: Literal["platform", "worker"] = "platform"
) -> list[Topic]:
    """Return a table of one topic whose contract has these fields: a type, or (type, default)."""
    entries = [(name, *entry) if isinstance(entry, tuple) else (name, entry) for name, entry in fields.items()]
    contract = defstruct("Order", entries, kw_only=True)
    return [Topic("order.placed", contract, "order_id", publisher, "somebody orders", contract, version=version)]


@pytest.fixture
def folder(tmp_path: Path, capsys: Capture) -> Path:
    """Return a folder with the documents as they were committed before a change."""
    assert main(["write", str(tmp_path)], _topic(ORDER)) == 0
    capsys.readouterr()
    return tmp_path


def _run(command: str, folder: Path, topics: list[Topic], capsys: Capture) -> tuple[int, str]:
    """Return the exit code and what was said on stderr."""
    code = main([command, str(folder)], topics)
    return code, capsys.readouterr().err


def test_the_committed_documents_are_the_derived_ones(capsys: Capture) -> None:
    assert (main(["check"]), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
def test_every_schema_is_json_schema(topic: Topic) -> None:
    Draft202012Validator.check_schema(topic_schema(topic))


def test_writing_twice_changes_nothing(folder: Path, capsys: Capture) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"order.placed.v1.json", "asyncapi.json"}
    assert main(["write", str(folder)], _topic(ORDER)) == 0
    assert capsys.readouterr() == ("", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert _run("check", folder, _topic(ORDER), capsys) == (0, "")


def test_a_compatible_change_asks_for_make_contracts(folder: Path, capsys: Capture) -> None:
    topics = _topic(ORDER | {"colour": (str, "red")})

    code, said = _run("check", folder, topics, capsys)

    assert code == 1
    assert said.splitlines() == [
        "order.placed.v1.json differs from the contracts: run `make contracts`",
        "asyncapi.json differs from the contracts: run `make contracts`",
    ]
    assert _run("write", folder, topics, capsys) == (0, "")
    assert _run("check", folder, topics, capsys) == (0, "")


def test_a_breaking_change_fails_loudly_and_is_not_written(folder: Path, capsys: Capture) -> None:
    topics = _topic(ORDER | {"address": str})
    before = (folder / "order.placed.v1.json").read_text()
    words = (
        "order.placed.v1.json: BREAKING: address: required field added; raise the version of order.placed in "
        "contracts/topics.py, which keeps order.placed.v1.json and adds order.placed.v2.json"
    )

    code, said = _run("check", folder, topics, capsys)

    assert code == 1
    assert said.splitlines()[0] == words
    assert _run("write", folder, topics, capsys) == (1, words + "\n")
    assert (folder / "order.placed.v1.json").read_text() == before


def test_a_new_version_makes_a_breaking_change_possible(folder: Path, capsys: Capture) -> None:
    topics = _topic(ORDER | {"address": str}, version=2)
    before = (folder / "order.placed.v1.json").read_text()
    assert "order.placed.v2.json is missing" in _run("check", folder, topics, capsys)[1]

    assert _run("write", folder, topics, capsys) == (0, "")

    assert _run("check", folder, topics, capsys) == (0, "")
    assert (folder / "order.placed.v1.json").read_text() == before
    second = json.loads((folder / "order.placed.v2.json").read_text())
    assert second["title"] == "order.placed v2"
    assert "address" in second["$defs"]["Order"]["required"]


def test_an_earlier_version_stays(folder: Path, capsys: Capture) -> None:
    topics = _topic(ORDER | {"address": str}, version=2)
    assert _run("write", folder, topics, capsys) == (0, "")
    (folder / "order.placed.v1.json").unlink()
    assert _run("check", folder, topics, capsys) == (1, "order.placed.v1.json is missing: an earlier version stays\n")


def test_who_publishes_decides_what_is_breaking(folder: Path, capsys: Capture) -> None:
    more_kinds = ORDER | {"kind": Literal["book", "record", "film"]}
    fewer_kinds = ORDER | {"kind": Literal["book"]}

    assert "BREAKING" not in _run("check", folder, _topic(more_kinds), capsys)[1]
    assert "BREAKING: kind: values removed: record;" in _run("check", folder, _topic(fewer_kinds), capsys)[1]
    assert "BREAKING: kind: values added, which consumers do not know: film;" in _ours(more_kinds, folder, capsys)
    assert "BREAKING" not in _ours(fewer_kinds, folder, capsys)


def _ours(fields: dict[str, Any], folder: Path, capsys: Capture) -> str:
    return _run("check", folder, _topic(fields, publisher="worker"), capsys)[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("order.lost.v1.json", "order.lost.v1.json: belongs to no topic; delete it"),
        ("notes.json", "notes.json: belongs to no topic; delete it"),
        ("order.placed.v2.json", "order.placed.v2.json: no such version in contracts/topics.py"),
    ],
)
def test_an_orphan_fails(folder: Path, capsys: Capture, name: str, said: str) -> None:
    (folder / name).write_text("{}\n")
    for command in ("check", "write"):
        code, error = _run(command, folder, _topic(ORDER), capsys)
        assert code == 1
        assert error.startswith(said)


@pytest.mark.parametrize("text", ["", "[]", '{"$ref": "#/$defs/Nothing"}'])
def test_a_spoiled_document_is_not_overwritten_unseen(folder: Path, capsys: Capture, text: str) -> None:
    (folder / "order.placed.v1.json").write_text(text)
    said = "order.placed.v1.json is not a schema that was derived here: restore it\n"
    assert _run("write", folder, _topic(ORDER), capsys) == (1, said)
    assert (folder / "order.placed.v1.json").read_text() == text


def test_a_missing_document_fails_the_check_and_is_written(folder: Path, capsys: Capture) -> None:
    (folder / "order.placed.v1.json").unlink()
    assert "order.placed.v1.json is missing for the contracts" in _run("check", folder, _topic(ORDER), capsys)[1]
    assert _run("write", folder, _topic(ORDER), capsys) == (0, "")
    assert _run("check", folder, _topic(ORDER), capsys) == (0, "")


def test_schemas_speak_to_readers_without_python() -> None:
    texts = [json.dumps(topic_schema(topic)) for topic in TOPICS.values()]
    assert not [text for text in texts if "``" in text or ":func:" in text or "(?!" in text]
