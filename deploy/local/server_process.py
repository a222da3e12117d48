"""A server of this machine as a process: it ends with its parent, however that ends, and can be killed on purpose."""

import asyncio
import os
import random
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from worker import child_process, tied_process

#: Where what was fetched or built once is kept.
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "finetune-worker"
_LOG_TAIL = 1500
#: Below where Linux takes the ports of outgoing connections from: none of those can take a server's port while it is
#: down, not even a client's that tries to reach it (which then is connected to itself).
_PORTS = range(20_000, 32_768)
_PORT_TRIES = 5


class ServerMissing(RuntimeError):
    """A server cannot be had on this machine; the text says what is missing or what it printed."""


class PortTaken(ServerMissing):
    """A server ended at its start because a port that was free is another process's now."""


class ServerProcess:
    """At most one process at a time; what it prints is appended to ``log_file``."""

    def __init__(self, name: str, log_file: Path, *, start_seconds: float, stop_seconds: float) -> None:
        self._name, self._log_file = name, log_file
        self._start_seconds, self._stop_seconds = start_seconds, stop_seconds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Return the process's id while it runs."""
        return None if self._process is None else self._process.pid

    async def start(
        self, command: list[str], answers: Callable[[], Awaitable[bool]], env: Mapping[str, str] | None = None
    ) -> None:
        """Start it and wait until it answers. ``command`` begins with an absolute path; ``env`` is all it sees.

        Raises:
            PortTaken: it ended at its start, and said that an address was in use.
            ServerMissing: it ended at its start otherwise, or does not answer in time. Nothing is left running.
        """
        assert self._process is None, f"{self._name} runs already"
        with self._log_file.open("ab") as log:
            begun_at = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *tied_process.tie(),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,  # Ctrl-C is for us: we stop it in order
            )
        try:
            async with asyncio.timeout(self._start_seconds):
                while not await answers():
                    if self._process.returncode is not None:
                        raise self._ended(begun_at)
                    await asyncio.sleep(0.05)
        except BaseException as error:
            await self.kill()
            if isinstance(error, TimeoutError):
                text = f"{self._name} did not answer within {self._start_seconds:.0f} s:\n{self._log_tail()}"
                raise ServerMissing(text) from error
            raise

    async def stop(self) -> None:
        """Stop it in order; kill it where that takes too long. Idempotent."""
        process, self._process = self._process, None
        await child_process.end(process, self._stop_seconds)

    async def kill(self) -> None:
        """End it with SIGKILL, and every process it started in its group, as a crash would. Idempotent."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own, and so a group
            await process.wait()

    def _ended(self, begun_at: int) -> ServerMissing:
        printed = self._log_file.read_bytes()[begun_at:].lower()
        kind = PortTaken if b"address already in use" in printed else ServerMissing
        return kind(f"{self._name} ended at its start:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return self._log_file.read_text(errors="replace")[-_LOG_TAIL:]


def program(name: str, remedy: str) -> str:
    """Return the absolute path of a program. Raises ServerMissing with the remedy where there is none."""
    path = shutil.which(name)
    if path is None:
        raise ServerMissing(remedy)
    return path


async def run(*command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a command to its end. Raises ServerMissing with what it printed where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=cwd, env=env
    )
    out, _ = await process.communicate()
    if process.returncode:
        printed = out.decode(errors="replace")[-_LOG_TAIL:]
        raise ServerMissing(f"{Path(command[0]).name} ended with {process.returncode}:\n{printed}")


def free_ports(count: int) -> list[int]:
    """Return different loopback ports that nobody listens on now."""
    ports: list[int] = []
    with ExitStack() as held:  # until all are found, so that two that ask at once are not given the same
        for port in random.sample(_PORTS, len(_PORTS)):  # which has none twice
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == count:
                return ports
    raise ServerMissing(f"no {count} ports are free from {_PORTS.start} to {_PORTS.stop - 1}")


def is_free(port: int) -> bool:
    """Return whether a server could take a loopback port now."""
    with socket.socket() as probe:
        # As servers do: what one that has just ended leaves of its connections is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


async def on_free_ports(count: int, start: Callable[[list[int]], Awaitable[None]], *, first: int | None = None) -> None:
    """Start something on free ports; again on others, a few times, where one was taken meanwhile.

    ``first`` is the first of them where that must be a certain one.

    Raises:
        PortTaken: that happened every time.
    """
    for tries_left in reversed(range(_PORT_TRIES)):
        ports = free_ports(count)
        try:
            await start([first, *(port for port in ports if port != first)][:count] if first else ports)
        except PortTaken:
            if not tries_left:
                raise
        else:
            return
