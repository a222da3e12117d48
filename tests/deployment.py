"""What docker-compose.yml and deploy/ say, for the tests that hold them to it."""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]


def yaml_of(path: str) -> Any:
    """Return a YAML file of the repository; a name given twice in it is an error."""
    return YAML(typ="safe", pure=True).load((ROOT / path).read_text())


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment, whether or not it is on PATH."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@functools.cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services of docker-compose.yml, anchors and merges resolved."""
    found: dict[str, dict[str, Any]] = yaml_of("docker-compose.yml")["services"]
    return found


def environment_of(service: str) -> dict[str, str]:
    """Return the variables that a service is given."""
    return dict(services()[service]["environment"])
