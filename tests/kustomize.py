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
from worker.settings import Settings

#: Of Kubernetes: the oldest that is still supported by some vendor, and the newest whose schemas are published.
VERSIONS = ["1.29", "1.37"]
FOLDER = ROOT / "deploy/kubernetes"
_MODULE = ROOT / "deploy/local/kustomize"
_PACKAGE = "sigs.k8s.io/kustomize/kustomize/v5"


def possible() -> bool:
    """Return whether anything here can render."""
    return any(shutil.which(name) for name in ("kustomize", "kubectl", "go"))


def description() -> str:
    """Return what a run says of it."""
    named = next(filter(shutil.which, ("kustomize", "kubectl", "go")), None)
    if named is None:
        return "none: that needs kustomize, kubectl, or Go 1.25 or newer once"
    return "built from its Go module" if named == "go" else f"{named} of this machine"


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


def objects(kind: str, folder: str = "example") -> dict[str, dict[str, Any]]:
    """Return the objects of a kind that a folder stands for, by name."""
    return {each["metadata"]["name"]: each for each in rendered(folder) if each["kind"] == kind}


def pod_of(deployment: str) -> dict[str, Any]:
    """Return the spec of a Deployment's pods."""
    pod: dict[str, Any] = objects("Deployment")[deployment]["spec"]["template"]["spec"]
    return pod


def container_of(deployment: str) -> dict[str, Any]:
    """Return the one container of a Deployment's pods."""
    [container] = pod_of(deployment)["containers"]
    return dict(container)


def config(name: str) -> dict[str, str]:
    """Return what a ConfigMap holds whose name ends in a digest."""
    [found] = [each["data"] for made, each in objects("ConfigMap").items() if made.rpartition("-")[0] == name]
    return dict(found)


def settings() -> Settings:
    """Return what the workers' ConfigMap sets."""
    return Settings.from_environment(config("worker-settings"))
