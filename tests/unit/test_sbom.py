"""make sbom: what it says of an image is what the lock file installs into it, and no tools of developers."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import ROOT

IMAGES = {"worker": "packages", "trainer": "trainer-packages"}
LOCKED = {
    package["name"]: package["version"]
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    if "version" in package
}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    # -o: the environment is there, however old it looks.
    command = ["make", "-o", ".venv/.complete", "sbom", f"SBOM_FOLDER={folder}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return folder


def components(folder: Path, image: str) -> dict[str, dict[str, Any]]:
    found = json.loads((folder / f"{image}.cdx.json").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    assert found["metadata"]["component"]["name"] == PROJECT["project"]["name"]
    return {component["name"]: component for component in found["components"]}


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return found[0].lower()


def extras_of(text: str) -> list[str]:
    return re.findall(r"--extra (\w+)", text)


@pytest.mark.parametrize("image", IMAGES)
def test_the_packages_are_the_locked_ones_each_with_its_hashes(written: Path, image: str) -> None:
    for name, component in components(written, image).items():
        assert component["version"] == LOCKED[name]
        assert component["purl"] == f"pkg:pypi/{name}@{LOCKED[name]}"
        distributions = component["externalReferences"]
        assert distributions
        assert all(each["hashes"][0]["alg"] == "SHA-256" for each in distributions)


@pytest.mark.parametrize(("image", "stage"), IMAGES.items())
def test_an_image_s_extras_are_in_it_and_no_tools_of_developers(written: Path, image: str, stage: str) -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    extras = extras_of(dockerfile.partition(f" AS {stage}\n")[2].partition("\nFROM ")[0])
    assert extras
    wanted = [*PROJECT["project"]["dependencies"]]
    wanted += [each for extra in extras for each in PROJECT["project"]["optional-dependencies"][extra]]
    found = set(components(written, image))
    assert {name_of(each) for each in wanted} <= found
    assert not found & {"pytest", "ruff", "mypy", "moto", "ray"}


def test_only_the_trainer_has_what_training_needs(written: Path) -> None:
    assert "torch" in components(written, "trainer")
    assert "torch" not in components(written, "worker")
    assert "lightkube" not in components(written, "trainer")
