"""deploy/Dockerfile: linted, pinned, without rights, and copying only what is there and let through."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import ROOT, tool

DOCKERFILE = ROOT / "deploy/Dockerfile"


def _stages() -> dict[str, list[str]]:
    """Return the instructions of each stage, by its name; the first is its FROM."""
    stages: dict[str, list[str]] = {}
    name = ""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.strip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.startswith("FROM "):
            name = line.split(" AS ")[1]
            stages[name] = []
        stages[name].append(" ".join(line.split()))
    return stages


def _whole(name: str) -> list[str]:
    """Return a stage's instructions with those of the stages it is made from, in their order."""
    origin = _stages()[name][0].split()[1]
    return (_whole(origin) if origin in _stages() else []) + _stages()[name]


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


def _lint(path: Path) -> subprocess.CompletedProcess[str]:
    return tool("hadolint", "--no-color", str(path))


def test_it_has_no_lint() -> None:
    said = _lint(DOCKERFILE)
    assert (said.returncode, said.stdout) == (0, "")


def test_the_linter_sees_what_it_is_for(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN pip install uv\nUSER root\n")
    said = _lint(bad)
    assert said.returncode == 1
    assert {"DL3007", "DL3013", "DL3002"} <= {word for word in said.stdout.split() if word.startswith("DL")}


def test_there_is_one_base_pinned_to_a_python_the_project_is_for() -> None:
    origins = {stage[0].split()[1] for stage in _stages().values()} - set(_stages())
    (base,) = origins
    image, _, tag = base.partition(":")
    assert image == "python"
    assert len(tag.partition("-")[0].split(".")) == 3, "a patch version"
    assert f"Programming Language :: Python :: {'.'.join(tag.split('.')[:2])}" in _project()["classifiers"]


@pytest.mark.parametrize("image", ["worker", "trainer"])
def test_an_image_runs_the_worker_as_a_user_without_rights(image: str) -> None:
    whole = _whole(image)
    assert [line for line in whole if line.startswith("USER ")][-1] == "USER 10001:10001"
    assert any("useradd --uid 10001" in line for line in whole)
    assert 'ENTRYPOINT ["worker"]' in whole
    assert "worker" in _project()["scripts"]
    assert not any(line.startswith("HEALTHCHECK") for line in whole)
    copied = [line.split()[2:] for line in whole if line.startswith("COPY --from=")]
    assert copied == [["/app/.venv", "/app/.venv"], ["/app/code", "/app/code"]]
    assert not any(line.startswith("COPY ") and "--from=" not in line for line in whole)


def test_the_last_stage_is_the_worker() -> None:
    assert list(_stages())[-1] == "worker"


def test_packages_come_from_the_lock_file_and_an_image_has_the_extras_of_what_runs_in_it() -> None:
    def extras(stage: str) -> set[str]:
        syncs = [line.split() for line in _whole(stage) if "uv sync" in line]
        assert all({"--frozen", "--no-dev"} <= set(words) for words in syncs)
        # A sync takes away what it does not name: the last one counts.
        return {syncs[-1][at + 1] for at, word in enumerate(syncs[-1]) if word == "--extra"}

    assert extras("packages") == {"fast", "kubernetes", "console", "traces"}
    assert extras("trainer-packages") == {"fast", "traces", "trainer"}
    assert extras("trainer-packages") <= set(_project()["optional-dependencies"])


@pytest.mark.parametrize(("image", "packages"), [("worker", "packages"), ("trainer", "trainer-packages")])
def test_an_image_has_the_packages_it_is_named_for(image: str, packages: str) -> None:
    assert f"COPY --from={packages} /app/.venv /app/.venv" in _stages()[image]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        name
        for line in _whole("code")
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(packages["packages"]) <= copied
