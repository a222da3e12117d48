"""A Ray head on this machine, with GPUs that are only counted: ``python -m deploy.local.ray`` runs one until Ctrl-C.

Ray comes from PyPI into an environment of its own (``make ray``, 300 MB). A start takes four to eight seconds; a head
is some fourteen processes with about 0.8 GB of memory in all, 100 MB of it for objects.
"""

import argparse
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from deploy.local.server_process import ServerMissing, ServerProcess, on_free_ports
from deploy.local.until_stopped import run_until_stopped

_BINARY = Path(__file__).parents[2] / ".ray" / "bin" / "ray"
#: On a busy machine; otherwise see above.
_START_SECONDS = 180.0
_STOP_SECONDS = 15.0
_OBJECT_STORE_BYTES = 100_000_000
#: What Ray would choose by itself is the same for every head of a machine.
_PORTS = (
    "port",
    "dashboard-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
    "ray-client-server-port",
)
#: The ``python`` of a machine where jobs run has Ray and this package. Here these are two environments.
_PYTHON = """\
#!/bin/sh
case "$*" in
"-m worker.trainer"*) exec {ours} "$@" ;;
*) exec {rays} "$@" ;;
esac
"""
#: Ray gives up a job that waits for longer than 15 minutes. A queue of fine-tuning jobs is longer than that.
_QUEUE_SECONDS = 30 * 86_400


class RayHead:
    """``async with RayHead() as head:`` - a cluster of one node on free ports, which asks for a token.

    ``kill`` and ``start`` are for tests of what a head's end does: the table of jobs survives it, the jobs do not.
    Jobs look for programs in the folder ``programs`` first; without it their ``python`` has the trainer.

    Raises on entry:
        ServerMissing: Ray is not installed, or does not start; the text says what to do.
    """

    def __init__(self, gpus: int = 1, *, programs: Path | None = None) -> None:
        self._gpus = gpus
        self._programs = programs
        # Ray's sockets are in it, and their paths may have 107 bytes: no long TMPDIR.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._ports: list[int] = []
        self._token = secrets.token_hex(32)
        self.token_file = self._folder / "token"
        self.token_file.write_text(self._token)
        self.url = ""
        self._process = ServerProcess(
            "Ray", self._folder / "log", start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS
        )

    async def __aenter__(self) -> Self:
        try:
            await on_free_ports(len(_PORTS), self._start_on)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _start_on(self, ports: list[int]) -> None:
        self._ports = ports
        self.url = f"http://127.0.0.1:{ports[_PORTS.index('dashboard-port')]}"
        await self.start()

    async def start(self) -> None:
        """Start the head and wait until it answers; after ``kill``, on the same ports and table of jobs."""
        binary = ray_binary()
        storage = self._folder / "gcs"
        storage.mkdir(exist_ok=True)
        await self._process.start(
            [
                *(str(binary), "start", "--head", "--block", "--disable-usage-stats", "--include-log-monitor=false"),
                *("--num-cpus=2", f"--num-gpus={self._gpus}", f"--object-store-memory={_OBJECT_STORE_BYTES}"),
                *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", f"--temp-dir={self._folder / 'ray'}"),
                *(f"--{name}={port}" for name, port in zip(_PORTS, self._ports, strict=True)),
            ],
            self._answers,
            env={
                # Jobs see it too: their `python` is the one that has Ray, and nothing else of ours reaches them.
                "PATH": f"{self._programs or self._with_trainer(binary)}:{binary.parent}:{os.environ['PATH']}",
                "HOME": str(self._folder),
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": self._token,
                "RAY_gcs_storage": "rocksdb",
                "RAY_gcs_storage_path": str(storage),
                "RAY_JOB_START_TIMEOUT_SECONDS": str(_QUEUE_SECONDS),
            },
        )

    async def kill(self) -> None:
        """End the head with SIGKILL, every process of it, whatever it does just then. Idempotent."""
        await self._process.kill()

    def _with_trainer(self, binary: Path) -> Path:
        """Return a folder whose ``python`` runs the trainer in this environment, and all else in Ray's."""
        folder = self._folder / "programs"
        folder.mkdir(exist_ok=True)
        python = folder / "python"
        rays = binary.with_name("python")
        python.write_text(_PYTHON.format(ours=shlex.quote(sys.executable), rays=shlex.quote(str(rays))))
        python.chmod(0o755)
        return folder

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead the worker to this head."""
        return {"WORKER_RAY_ADDRESS": self.url, "WORKER_RAY_TOKEN_FILE": str(self.token_file)}

    async def _answers(self) -> bool:
        # The token is this head's alone: another one may have taken the port first.
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
                return (await client.get(f"{self.url}/api/jobs/", headers=headers)).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


def ray_binary() -> Path:
    """Return Ray's program. Raises ServerMissing where it is not installed."""
    if not _BINARY.exists():
        raise ServerMissing("Ray is not installed; `make ray` installs it into an environment of its own")
    return _BINARY


async def _variables(head: RayHead) -> dict[str, str]:
    return head.environment()


def main(arguments: list[str]) -> int:
    """Run a head until Ctrl-C or SIGTERM; return the exit code: 0 it ran, 2 it could not."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.ray", description="A Ray head on this machine, until Ctrl-C."
    )
    parser.add_argument("--gpus", type=int, default=1, help="GPUs to say there are; default: 1")
    return run_until_stopped(RayHead(parser.parse_args(arguments).gpus), _variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
