"""Whether a Docker engine answers here."""

import functools
import os
from pathlib import Path


@functools.cache
def docker_answers() -> bool:
    """Ask the engine, once a process."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    import docker  # type: ignore[import-untyped]  # noqa: PLC0415 - half a second of imports, for nothing where there is no engine

    try:
        docker.from_env(timeout=5).ping()
    except (docker.errors.DockerException, OSError):
        return False
    return True
