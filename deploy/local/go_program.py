"""Programs that tests need and no Python package brings: built once, from a Go module at one version."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from deploy.local.server_process import CACHE, program, run


async def go_program(what: str, module: Path, package: str) -> Path:
    """Return the program of a package, building it where the cache folder does not have it. Takes minutes then.

    What Go builds it from is checked against the go.sum in ``module``. Safe beside others that build the same.

    Raises:
        ServerMissing: there is no Go 1.25, or the build fails; the text says what to do, or what Go said.
    """
    pinned = b"".join((module / name).read_bytes() for name in ("go.mod", "go.sum"))
    binary = CACHE / f"{module.name}-{sha256(pinned).hexdigest()[:12]}"
    if binary.exists():
        return binary
    go = program(
        "go",
        f"Go 1.25 or newer (go) is needed once, to build {what}: install it from https://go.dev/dl or your "
        "system's packages",
    )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as arriving:
        built = Path(arriving) / module.name
        await run(
            *(go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(built)),
            package,
            cwd=module,
            # No C compiler is needed, and what somebody has around this folder does not matter.
            env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        )
        built.replace(binary)  # Another process may have been first: with the same.
    return binary
