"""docker-compose.yml without Docker: each part that can be had here, started with what the file tells its container.

Kafka is set up by the very class that its image begins with. Only addresses, ports and folders are others.
"""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.local.kafka import jars_folder
from deploy.local.s3 import server_binary
from deploy.local.server_process import ServerProcess, free_ports, program, run
from tests import kafka_servers, s3_servers
from tests.deployment import ROOT, environment_of, services
from tests.wait import wait_until

pytestmark = [
    pytest.mark.skipif(not kafka_servers.process_possible(), reason="Java and Maven run Apache Kafka"),
    pytest.mark.skipif(not s3_servers.process_possible(), reason="Go builds the S3 server, once"),
]

PORTS = ("9092", "19092", "29093", "7070", "8080", "8081")
#: Where the containers of the worker's image have their Python and its programs.
BIN = Path(sys.executable).parent


class Here:
    """This machine instead of containers: what a text of the file means on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))

    def means(self, text: str) -> str:
        """Return a text with this machine's addresses, ports and folders."""
        text = re.sub(r"\b(kafka|s3):(?=\d)", "127.0.0.1:", text)
        text = re.sub(r"\b\d{4,5}\b", lambda port: self.ports.get(port[0], port[0]), text)
        return re.sub(r"^(/var/lib/kafka/data|/data|/work)$", lambda path: f"{self.folder}{path[0]}", text)

    def environment(self, service: str) -> dict[str, str]:
        """Return what a service's container sees, and what a process here cannot do without."""
        ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return ours | {name: self.means(value) for name, value in environment_of(service).items()}

    async def listens(self, port: str) -> bool:
        """Return whether a port of the file is answered."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(self.ports[port]))
        except OSError:
            return False
        writer.close()
        return True


@asynccontextmanager
async def _server(name: str, here: Here, command: list[str], env: Mapping[str, str], port: str) -> AsyncIterator[None]:
    process = ServerProcess(name, here.folder / f"{name}.log", start_seconds=60, stop_seconds=15)
    await process.start(command, lambda: here.listens(port), env)
    try:
        yield
    finally:
        await process.stop()


@asynccontextmanager
async def _kafka(here: Here) -> AsyncIterator[None]:
    java = [program("java", ""), "-Xmx384m", "-cp", f"{await jars_folder()}/*"]
    env = here.environment("kafka")
    folders = {name: here.folder / f"kafka-{name}" for name in ("default", "mounted", "final")}
    for folder in folders.values():
        folder.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (folders["default"] / name).touch()
    options = [word for name, folder in folders.items() for word in (f"--{name}-configs-dir", str(folder))]
    await run(*java, "kafka.docker.KafkaDockerWrapper", "setup", *options, env=env)
    async with _server(
        "kafka", here, [*java, "kafka.Kafka", str(folders["final"] / "server.properties")], env, "19092"
    ):
        yield


@asynccontextmanager
async def _s3(here: Here) -> AsyncIterator[None]:
    command = [str(await server_binary()), *map(here.means, services()["s3"]["command"])]
    (here.folder / "data").mkdir()
    async with _server("s3", here, command, here.environment("s3"), "7070"):
        yield


async def _worker(here: Here, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(str(BIN / "worker"), *arguments),
        cwd=ROOT,
        env=here.environment("setup"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@asynccontextmanager
async def _console(here: Here) -> AsyncIterator[None]:
    command = [str(BIN / "worker"), *services()["console"]["command"]]
    # Only the container's own address is not this machine's.
    env = here.environment("console") | {"CONSOLE_HOST": "127.0.0.1"}
    async with _server("console", here, command, env, "8081"):
        yield


async def test_what_it_starts_works_together(tmp_path: Path) -> None:
    here = Here(tmp_path)
    (tmp_path / "work").mkdir()
    commands = [line.split()[1:] for line in services()["setup"]["command"][0].splitlines() if line[:7] == "worker "]
    async with _kafka(here), _s3(here):
        for _ in range(2):  # `setup` runs at every start
            for command in commands:
                assert (await _worker(here, *command))[0] == 0
        assert (await _worker(here, "topics", "check"))[0] == 0
        # "ok" for settings, broker, bucket with conditional puts, catalogue, executor and work folder.
        code, said = await _worker(here, "run", "--check")
        assert (code, said.count("ok  "), said.count("note")) == (0, 6, 0), said

        env, command = here.environment("worker"), services()["worker"]["command"]
        async with (
            _server("worker", here, [str(BIN / "worker"), *command], env, "8080"),
            _console(here),
            aiohttp.ClientSession() as web,
        ):
            base = f"http://127.0.0.1:{here.ports['8080']}"

            async def ready() -> bool:
                async with web.get(f"{base}/ready") as response:
                    return response.status == 200

            await wait_until(ready, 60, "the worker to be ready")
            async with web.get(f"{base}/metrics") as response:
                assert "finetune_worker_ready 1.0\n" in await response.text()
            page = f"http://127.0.0.1:{here.ports['8081']}"
            token = {"token": here.environment("console")["CONSOLE_TOKEN"]}
            async with web.post(f"{page}/sign-in", data=token, headers={"Origin": page}) as response:
                assert str(response.url) == f"{page}/tasks", await response.text()
