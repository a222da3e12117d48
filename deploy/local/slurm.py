"""Slurm on this machine, a controller and its nodes, with GPUs that are none.

``python -m deploy.local.slurm`` runs it until Ctrl-C. It needs Debian's or Ubuntu's packages (``make slurm``) and root,
but neither systemd nor cgroups. A start takes a fifth of a second, running takes 40 MB of memory. It keeps nothing
after its end, and ends its jobs with it.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local.server_process import ServerMissing, ServerProcess, on_free_ports, program
from deploy.local.slurm_conf import Cluster, gres_conf, slurm_conf
from deploy.local.until_stopped import run_until_stopped

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
_REMEDY = "Slurm is needed (Debian's packages slurm-wlm and munge): make slurm"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
#: ``/dev/null``'s numbers: a GPU that takes everything and gives nothing.
_NULL_DEVICE = os.makedev(1, 3)
_IDS_AFTER_A_LOSS = 1001
_JOBS = "job_state"


class LocalSlurm:
    """``async with LocalSlurm() as slurm:`` - a cluster of its own on free loopback ports; ``slurm.conf`` leads to it.

    ``kill_controller``, ``kill_node`` and their starts are for tests of what an end does.

    Args:
        gpus: how many a node has.
        nodes: how many there are, called node1 and so on; one more daemon of this machine each.
        remembered_seconds: how long the controller knows of ended jobs (MinJobAge; at least 2).
        node_patience_seconds: how long a silent node counts as there (SlurmdTimeout).

    Raises on entry:
        ServerMissing: programs are missing, this is not root, or a daemon does not start; the text says what to do.
    """

    def __init__(
        self, gpus: int = 1, *, nodes: int = 1, remembered_seconds: int = 300, node_patience_seconds: int = 300
    ) -> None:
        self._cluster = Cluster(nodes, gpus, remembered_seconds, node_patience_seconds)
        self._folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.conf = self._folder / "slurm.conf"
        self._munge, self._controller = self._daemon("munged"), self._daemon("slurmctld")
        self._nodes = {name: self._daemon(f"slurmd-{name}") for name in self._cluster.names}

    async def __aenter__(self) -> Self:
        try:
            self._prepare()
            await self._start_munge()
            await on_free_ports(1 + self._cluster.nodes, self._start_on)
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    def saved_jobs(self) -> bytes:
        """Return what the controller has saved of its jobs so far."""
        return (self._folder / "state" / _JOBS).read_bytes()

    async def start_controller(self, *, forgetful: bool = False, jobs: bytes | None = None) -> None:
        """Start the controller and wait until it answers.

        ``forgetful``: as if its state had never been saved; ``jobs``: as if of its jobs nothing had been saved after
        :meth:`saved_jobs` returned this.
        """
        state = self._folder / "state"
        if forgetful:
            shutil.rmtree(state)
            # A node does not start a job that has the id of one it was told to kill a moment ago.
            self.conf.write_text(self.conf.read_text() + f"FirstJobId={_IDS_AFTER_A_LOSS}\n")
        state.mkdir(exist_ok=True)
        if jobs is not None:
            (state / _JOBS).write_bytes(jobs)
        await self._controller.start([_program("slurmctld"), "-D", "-f", str(self.conf)], self._controller_answers)

    async def kill_controller(self) -> None:
        """End the controller with SIGKILL. Jobs run on."""
        await self._controller.kill()

    async def start_node(self, name: str = "node1") -> None:
        """Start a node and wait until the controller counts it as there."""
        # What looks after a job inherits these, and jobs have them too: that is how they are found at the end.
        environment = {"PATH": os.environ["PATH"], "SLURM_CONF": str(self.conf), "SLURMD_NODENAME": name}
        command = [_program("slurmd"), "-D", "-N", name, "-f", str(self.conf)]
        await self._nodes[name].start(command, partial(self._node_is_there, name), environment)

    async def kill_node(self, name: str = "node1") -> None:
        """End a node and everything that runs on it, as a power cut would."""
        await self._nodes[name].kill()
        await self._kill_jobs(name)

    def _daemon(self, name: str) -> ServerProcess:
        log = self._folder / f"{name}.log"
        return ServerProcess(name, log, start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS)

    def _prepare(self) -> None:
        for name in PROGRAMS:
            _program(name)
        if os.geteuid():
            raise ServerMissing("Slurm's node daemon and the devices that stand in for GPUs need root")
        self._folder.chmod(0o755)  # munge's clients may be anybody
        for name in ("munge", "spool", *(f"spool/{node}" for node in self._nodes)):
            (self._folder / name).mkdir(mode=0o755)
        key = self._folder / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(64))
        for number in range(self._cluster.gpus):
            os.mknod(self._folder / f"gpu{number}", 0o20666, _NULL_DEVICE)
        (self._folder / "gres.conf").write_text(gres_conf(self._cluster, self._folder))

    async def _start_munge(self) -> None:
        folder = self._folder / "munge"
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder / name}" for option, name in files.items()]
        await self._munge.start([_program("munged"), "--foreground", *options], lambda: _connects(folder / "socket"))

    async def _start_on(self, ports: list[int]) -> None:
        self.conf.write_text(slurm_conf(self._cluster, self._folder, ports))
        try:
            await self.start_controller()
            for name in self._nodes:
                await self.start_node(name)
        except BaseException:
            await self._kill_daemons()
            raise

    async def _stop_all(self) -> None:
        await self._kill_daemons()
        await self._munge.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _kill_daemons(self) -> None:
        for name in self._nodes:
            await self.kill_node(name)
        await self._controller.kill()

    async def _kill_jobs(self, node: str) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        while jobs := self._jobs(node):
            for pid in jobs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise ServerMissing(f"processes {jobs} of Slurm's jobs cannot be killed")
            await asyncio.sleep(0.02)

    def _jobs(self, node: str) -> list[int]:
        """Return what a node has started, and what that has: whatever was begun with its variables."""
        ours = {f"SLURM_CONF={self.conf}".encode(), f"SLURMD_NODENAME={node}".encode()}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                variables = (process / "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if ours.issubset(variables):
                found.append(int(process.name))
        return found

    async def _controller_answers(self) -> bool:
        return " is UP" in await self._ask("scontrol", "ping")

    async def _node_is_there(self, name: str) -> bool:
        # A state with a star is what was known of a node that does not answer.
        return await self._ask("sinfo", "--noheader", f"--nodes={name}", "--format=%T") in (
            "idle\n",
            "mixed\n",
            "allocated\n",
        )

    async def _ask(self, *command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(_program(command[0]), *command[1:]),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"SLURM_CONF": str(self.conf)},
        )
        return (await process.communicate())[0].decode()


def _program(name: str) -> str:
    return program(name, _REMEDY)


async def _connects(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def _variables(slurm: LocalSlurm) -> dict[str, str]:
    return {"SLURM_CONF": str(slurm.conf)}


def main(arguments: list[str]) -> int:
    """Run Slurm until Ctrl-C or SIGTERM; return the exit code: 0 it ran, 2 it could not."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.slurm", description="Run Slurm on this machine until Ctrl-C. Needs root."
    )
    parser.add_argument("--gpus", type=int, default=2, help="GPUs of a node, none of them real; default: 2")
    parser.add_argument("--nodes", type=int, default=1, help="nodes, all of them this machine; default: 1")
    given = parser.parse_args(arguments)
    return run_until_stopped(LocalSlurm(given.gpus, nodes=given.nodes), _variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
