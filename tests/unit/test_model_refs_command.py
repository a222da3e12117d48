"""worker models tag and untag, refs where a model's id is taken, and what is shown of models that expired."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from contracts.model import Expiry
from tests.exported import export
from worker.cli import app

EXPIRED = Expiry(at=datetime(2026, 2, 1, tzinfo=UTC), exported_at=datetime(2026, 1, 1, tzinfo=UTC), retention_days=31.0)


def models(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def as_json(*arguments: str | Path) -> Any:
    return json.loads(models(*arguments, "--json").stdout)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKER_STORAGE_URL", (tmp_path / "bucket").as_uri())
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "bucket/models/first", project="poems")
    export(tmp_path / "bucket/models/second", project="poems")
    return tmp_path / "bucket"


def test_a_name_is_of_the_model_s_project_and_shown_with_the_model_it_means_now(bucket: Path) -> None:
    said = as_json("tag", "production", "first")
    assert said == {"ref": "refs/poems/production", "model_id": "first", "before": None}
    assert json.loads((bucket / "refs/poems/production").read_bytes()) == {"model_id": "first"}
    assert as_json("tag", "production", "second")["before"] == "first"
    assert models("tag", "latest", "refs/poems/production").stdout == "refs/poems/latest: second, before no model\n"
    assert {entry["model_id"]: entry["refs"] for entry in as_json("list")["models"]} == {
        "first": [],
        "second": ["refs/poems/latest", "refs/poems/production"],
    }
    assert "refs/poems/latest  refs/poems/production" in models("list").stdout


def test_a_ref_is_taken_wherever_a_model_s_id_is(bucket: Path, tmp_path: Path) -> None:
    models("tag", "production", "first")
    models("tag", "broken", "second")
    (bucket / "models/second/config.json").unlink()
    assert as_json("show", "refs/poems/production")["model_id"] == "first"
    verdict = as_json("verify", "refs/poems/broken")
    assert (verdict["model_id"], verdict["problems"][0]["code"]) == ("second", "missing")
    done = as_json("download", "refs/poems/production")
    assert (done["model_id"], done["path"]) == ("first", str(tmp_path / "first"))


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("ref", ["refs/poems/other", "refs/poems", "refs/poems/../../models/first", "refs//x"])
@pytest.mark.parametrize("command", ["show", "verify", "download"])
def test_what_is_no_ref_is_said_and_leads_nowhere(command: str, ref: str) -> None:
    result = models(command, ref)
    assert (result.exit_code, "means no model" in result.stderr) in ((1, True), (2, False))
    assert "means no model" in result.stderr or "a ref is refs/PROJECT/NAME" in result.stderr


def test_a_name_is_only_moved_from_the_model_that_was_expected(bucket: Path) -> None:
    models("tag", "production", "first")
    result = models("tag", "production", "second", "--replaces", "other")
    assert (result.exit_code, "refs/poems/production means first" in result.stderr) == (1, True)
    assert json.loads((bucket / "refs/poems/production").read_bytes()) == {"model_id": "first"}
    assert models("tag", "production", "second", "--replaces", "first").exit_code == 0
    assert models("tag", "production", "second", "--replaces", "first").exit_code == 0, "again is no fault"


def test_a_name_that_is_taken_away_means_no_model_until_it_is_given_again(bucket: Path) -> None:
    assert models("untag", "refs/poems/production").exit_code == 1
    models("tag", "production", "first")
    assert as_json("untag", "refs/poems/production")["before"] == "first"
    assert models("untag", "refs/poems/production").exit_code == 0
    assert models("show", "refs/poems/production").exit_code == 1
    assert [entry["refs"] for entry in as_json("list")["models"]] == [[], []]
    assert models("tag", "production", "second").exit_code == 0
    assert (bucket / "refs/poems/production").is_file()


@pytest.mark.parametrize(
    ("name", "model", "code"),
    [("production", "none", 1), ("a/b", "first", 2), ("..", "first", 2), ("production", "../first", 2)],
)
def test_only_a_model_gets_a_name_and_only_one_that_is_a_name(bucket: Path, name: str, model: str, code: int) -> None:
    result = models("tag", name, model)
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert not (bucket / "refs").exists()


def test_an_expired_model_is_shown_as_that_and_neither_named_nor_verified_nor_downloaded(bucket: Path) -> None:
    export(bucket / "models/first", project="poems", expiry=EXPIRED)
    words = "expired on 2026-02-01, 31 days after its export"
    for command in (("tag", "production", "first"), ("download", "first")):
        result = models(*command)
        assert (result.exit_code, words in result.stderr) == (1, True)
    assert as_json("verify", "first")["problems"][0]["code"] == "expired"
    assert models("verify", "first").exit_code == 1
    assert words in models("show", "first").stdout
    first, second = as_json("list")["models"]
    assert (first["expired_at"], second["expired_at"]) == ("2026-02-01T00:00:00Z", None)
    assert "expired 2026-02-01" in models("list").stdout
