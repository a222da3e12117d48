"""A real Ray, a real Slurm: what leads a worker there, how it is killed and comes back, and its trainers."""

import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from deploy.local.ray import RayHead, ray_binary
from deploy.local.slurm import LocalSlurm
from tests.conformance.slurm_harness import SlurmHarness
from tests.e2e.engines import halting_trainer
from tests.integration.halting_trainer import VARIABLE

_ROOT = Path(__file__).parents[3]
#: The interpreter of the engine's machine: the trainer is the halting one, which is written down at each start.
_PYTHON = """\
#!/bin/sh
if [ "$*" = "-m worker.trainer" ]; then
    echo $$ >> {starts}
    export PYTHONPATH={root} {variable}={until}
    exec {ours} -m {trainer}
fi
exec {real} "$@"
"""


class Machine:
    """Where an engine's trainers run. ``python`` is its interpreter, made out of a real one."""

    def __init__(self, folder: Path, real: Path) -> None:
        self._starts, self._until = folder / "starts", folder / "until"
        self.python = folder / "bin" / "python"
        words = {"root": _ROOT, "until": self._until, "starts": self._starts, "ours": sys.executable, "real": real}
        quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
        self.python.parent.mkdir()
        self.python.write_text(_PYTHON.format(**quoted, variable=VARIABLE, trainer=halting_trainer.__name__))
        self.python.chmod(0o755)

    def halt_after(self, step: int) -> None:
        """Let trainers go on to a step, and halt after it."""
        draft = self._until.with_suffix(".draft")
        draft.write_text(str(step))
        draft.replace(self._until)

    def starts(self) -> int:
        """Return how often a trainer was started."""
        return len(self._pids())

    def living(self) -> list[int]:
        """Return the trainers that live."""
        return [pid for pid in self._pids() if _is_trainer(pid)]

    def kill_trainer(self) -> None:
        """Kill the one trainer there is with -9."""
        [trainer] = self.living()
        os.kill(trainer, signal.SIGKILL)

    def _pids(self) -> list[int]:
        return [int(pid) for pid in self._starts.read_text().split()] if self._starts.exists() else []


def _is_trainer(pid: int) -> bool:
    try:
        return halting_trainer.__name__.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Engine(NamedTuple):
    """A real engine with one GPU that is none.

    ``settings`` lead a worker to it. ``crash`` kills it with -9 and starts it again; ``jobs_survive`` says whether what
    runs on it outlives that.
    """

    name: str
    machine: Machine
    settings: dict[str, Any]
    crash: Callable[[], Awaitable[None]]
    jobs_survive: bool


@asynccontextmanager
async def ray(folder: Path) -> AsyncIterator[Engine]:
    """Start a head; when it is killed its jobs die with it."""
    machine = Machine(folder, ray_binary().with_name("python"))
    async with RayHead(programs=machine.python.parent) as head:

        async def crash() -> None:
            await head.kill()
            await head.start()

        settings = {"ray_address": head.url, "ray_token_file": head.token_file}
        yield Engine("ray", machine, settings, crash, jobs_survive=False)


@asynccontextmanager
async def slurm(folder: Path) -> AsyncIterator[Engine]:
    """Start a controller and a node; when the controller is killed its jobs run on."""
    machine = Machine(folder, Path(sys.executable))
    async with LocalSlurm() as cluster:

        async def crash() -> None:
            # Of what it has not saved it knows nothing afterwards; what comes of that is tests/integration's matter.
            await SlurmHarness(folder / "harness", cluster).state_saved()
            await cluster.kill_controller()
            await cluster.start_controller()

        settings = {"slurm_jobs_dir": folder / "jobs", "slurm_python": str(machine.python)}
        os.environ["SLURM_CONF"] = str(cluster.conf)
        try:
            yield Engine("slurm", machine, settings, crash, jobs_survive=True)
        finally:
            del os.environ["SLURM_CONF"]
