"""What Kustomize makes of a folder of deploy/kubernetes.

By the ``kustomize`` or ``kubectl`` on PATH, else by one that is built from its Go module (``deploy/local/kustomize``).
No cluster is asked.
"""

import asyncio
import functools
import shutil
import subprocess
from typing import Any

from ruamel.yaml import YAML

from deploy.local.go_program import go_program
from tests.deployment import ROOT

FOLDER = ROOT / "deploy/kubernetes"
_MODULE = ROOT / "deploy/local/kustomize"
_PACKAGE = "sigs.k8s.io/kustomize/kustomize/v5"


def possible() -> bool:
    """Return whether anything here can render."""
    return any(shutil.which(name) for name in ("kustomize", "kubectl", "go"))


@functools.cache
def rendered(name: str) -> tuple[dict[str, Any], ...]:
    """Return the objects that a folder stands for. Fails where Kustomize finds something wrong."""
    said = subprocess.run([*command(), str(FOLDER / name)], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stderr
    # Kustomize says on stderr what is deprecated.
    assert said.stderr == ""
    return tuple(YAML(typ="safe", pure=True).load_all(said.stdout))


def command() -> list[str]:
    """Return what renders a folder that is named behind it; built here where nothing is on PATH, which takes minutes.

    Raises ServerMissing where it cannot be built.
    """
    if found := shutil.which("kustomize"):
        return [found, "build"]
    if found := shutil.which("kubectl"):
        return [found, "kustomize"]
    return [str(asyncio.run(go_program("Kustomize", _MODULE, _PACKAGE))), "build"]
