"""The command line itself."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from worker.cli import app


def test_it_says_its_version() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"worker {project['version']}\n")
