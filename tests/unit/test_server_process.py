"""Servers of this machine start on ports of their own, whatever takes a port in between."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.local.server_process import PortTaken, ServerMissing, ServerProcess, free_ports, on_free_ports

LISTEN = """\
import socket, sys, time
server = socket.socket()
server.bind(("127.0.0.1", int(sys.argv[1])))
server.listen()
print("listening", flush=True)
time.sleep(60)
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


async def listen(log: Path, port: int, program: str = LISTEN) -> ServerProcess:
    """Start a program; it answers when it has printed that it listens."""

    async def answers() -> bool:
        return "listening" in await asyncio.to_thread(log.read_text)

    process = ServerProcess("the listener", log, start_seconds=20, stop_seconds=5)
    await process.start([sys.executable, "-c", program, str(port)], answers)
    return process


def test_ports_asked_for_together_differ() -> None:
    ports = free_ports(1000)
    assert len(set(ports)) == 1000


async def test_a_taken_port_is_told_from_other_failures(tmp_path: Path, taken: int) -> None:
    with pytest.raises(PortTaken, match="in use"):
        await listen(tmp_path / "log", taken)
    # The same log, in which an address was in use once.
    with pytest.raises(ServerMissing, match="as told") as failure:
        await listen(tmp_path / "log", taken, "raise SystemExit('as told')")
    assert not isinstance(failure.value, PortTaken)


async def test_a_server_starts_on_another_port_where_its_port_was_taken(tmp_path: Path, taken: int) -> None:
    tried: list[int] = []
    running: list[ServerProcess] = []

    async def start(ports: list[int]) -> None:
        tried.append(ports[0])
        running.append(await listen(tmp_path / "log", taken if len(tried) < 3 else ports[0]))

    await on_free_ports(1, start)
    assert len(set(tried)) == 3
    assert running[0].pid is not None
    await running[0].stop()
    assert running[0].pid is None


async def test_the_last_failure_is_told(tmp_path: Path, taken: int) -> None:
    tries: list[list[int]] = []

    async def start(ports: list[int]) -> None:
        tries.append(ports)
        await listen(tmp_path / "log", taken)

    with pytest.raises(PortTaken):
        await on_free_ports(2, start)
    assert len(tries) > 1
    assert all(len(set(ports)) == 2 for ports in tries)
