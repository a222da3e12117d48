"""Apache Kafka, KRaft, with this machine's Java: ``python -m deploy.local.kafka`` runs one node until Ctrl-C.

The jars come from Maven Central through ``mvn`` and stay in a cache folder; a start takes a few seconds. It keeps
nothing after its end.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.server_process import CACHE, ServerMissing, ServerProcess, is_free, on_free_ports, program, run

_POM = Path(__file__).with_name("kafka-pom.xml")
_START_SECONDS = 60.0
#: For a process of some seconds, which never earns back what the better compiler and collector cost.
_BRIEF = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_STOP_SECONDS = 15.0


class ApacheKafka:
    """``async with ApacheKafka() as bootstrap_servers:`` - fresh nodes on loopback ports, free ones by default.

    ``kill``, ``stop`` and ``start`` one node of them are for tests of what a broker's end does; what was acknowledged
    survives them.

    Args:
        port: of the first node.
        nodes: how many; each is a broker and a controller, so that three go on without one.
        listeners: more ways in, each by name with its protocol (``SSL``, ``SASL_SSL``, ...); see :meth:`address`.
        properties: more of Kafka's own settings, the same for every node.
        users: SCRAM users with their passwords.
        brief: for some seconds with few records: starts with two thirds of the work, and is slower ever after.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        nodes: int = 1,
        listeners: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        brief: bool = False,
    ) -> None:
        self._port = port
        self._listeners = {"PLAINTEXT": "PLAINTEXT"} | dict(listeners or {})
        self._more = dict(properties or {})
        self._users = dict(users or {})
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        options = _BRIEF if brief else ()
        self._nodes = [_Node(number, self._folder / str(number), options) for number in range(1, nodes + 1)]
        self._cluster_id = _new_cluster_id()
        self._ports: list[dict[str, int]] = []

    async def __aenter__(self) -> str:
        try:
            await on_free_ports(len(self._nodes) * (len(self._listeners) + 1), self._start_on, first=self._port)
        except BaseException:
            await self._stop_all()
            raise
        return self.address()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_all()

    def address(self, listener: str = "PLAINTEXT") -> str:
        """Return the nodes' addresses for clients of a listener, with commas."""
        return ",".join(f"127.0.0.1:{ports[listener]}" for ports in self._ports)

    async def start(self, node: int = 1) -> None:
        """Start a node and wait until it answers; after ``stop`` or ``kill``, on the same records and ports."""
        port = self._ports[node - 1]["PLAINTEXT"]
        await self._nodes[node - 1].start(f"127.0.0.1:{port}", self._cluster_id)

    async def stop(self, node: int = 1) -> None:
        """Stop a node in order; kill it where that takes too long."""
        await self._nodes[node - 1].process.stop()

    async def kill(self, node: int = 1) -> None:
        """End a node as a power cut would."""
        await self._nodes[node - 1].process.kill()

    async def _start_on(self, ports: list[int]) -> None:
        names = [*self._listeners, "CONTROLLER"]
        # The first port is the first node's for clients.
        self._ports = [dict(zip(names, ports[at:], strict=False)) for at in range(0, len(ports), len(names))]
        try:
            for node, own in zip(self._nodes, self._ports, strict=True):
                await node.format(self._properties(node, own), self._cluster_id, self._users)
            # All at once: a node answers when most of the controllers are there.
            await asyncio.gather(*(self.start(node.number) for node in self._nodes))
        except BaseException:
            await asyncio.gather(*(node.process.kill() for node in self._nodes))
            raise

    async def _stop_all(self) -> None:
        await asyncio.gather(*(node.process.stop() for node in self._nodes))
        shutil.rmtree(self._folder, ignore_errors=True)

    def _properties(self, node: "_Node", ports: Mapping[str, int]) -> dict[str, str]:
        def each(names: Mapping[str, str], text: Callable[[str], str]) -> str:
            return ",".join(text(name) for name in names)

        protocols = {"CONTROLLER": "PLAINTEXT"} | self._listeners
        copies = str(min(3, len(self._nodes)))
        return {
            "process.roles": "broker,controller",
            "node.id": str(node.number),
            "controller.quorum.voters": ",".join(
                f"{number}@127.0.0.1:{own['CONTROLLER']}" for number, own in enumerate(self._ports, start=1)
            ),
            "listeners": each(protocols, lambda name: f"{name}://127.0.0.1:{ports[name]}"),
            "advertised.listeners": each(self._listeners, lambda name: f"{name}://127.0.0.1:{ports[name]}"),
            "listener.security.protocol.map": each(protocols, lambda name: f"{name}:{protocols[name]}"),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(node.folder / "data"),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "5",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
        } | self._more


class _Node:
    """One process of a cluster, with its folder."""

    def __init__(self, number: int, folder: Path, options: Sequence[str]) -> None:
        folder.mkdir()
        self.number, self.folder, self._options = number, folder, options
        self.process = ServerProcess("Kafka", folder / "log", start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS)

    @property
    def _file(self) -> Path:
        return self.folder / "server.properties"

    async def format(self, properties: Mapping[str, str], cluster_id: str, users: Mapping[str, str]) -> None:
        """Write the node's settings and make its folder for records."""
        self._file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        scram = [
            f"--add-scram={mechanism}=[name={name},password={password}]"
            for name, password in users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        await run(
            *(_java(), *_BRIEF, "-cp", f"{await jars_folder()}/*", "kafka.tools.StorageTool", "format"),
            *("--ignore-formatted", "-t", cluster_id, "-c", str(self._file), *scram),
        )

    async def start(self, address: str, cluster_id: str) -> None:
        """Start the node and wait until it answers."""
        command = [
            _java(),
            "-Xmx384m",
            *self._options,
            "-cp",
            f"{await jars_folder()}/*",
            "kafka.Kafka",
            str(self._file),
        ]
        await self.process.start(command, lambda: _answers(address, cluster_id))


async def jars_folder() -> Path:
    """Return the folder with Kafka's jars, fetching them once. Raises ServerMissing without Java or Maven."""
    _java()
    folder = CACHE / f"kafka-{sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    mvn = program("mvn", "Maven (mvn) is needed once, to fetch Apache Kafka's jars")
    CACHE.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(dir=CACHE))
    await run(mvn, "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={arriving}")
    return _keep(arriving, folder)


def _keep(arriving: Path, folder: Path) -> Path:
    try:
        arriving.rename(folder)
    except OSError:
        shutil.rmtree(arriving)  # Another process was first.
    return folder


def _java() -> str:
    return program("java", "Java 17 or newer is needed to run Apache Kafka")


async def _answers(bootstrap_servers: str, cluster_id: str) -> bool:
    # A look at the port first: the client logs an error for every refused connection.
    host, port = bootstrap_servers.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=1000)
    try:
        await client.start()
        # Another node may have taken the port first.
        return bool((await client.describe_cluster())["cluster_id"] == cluster_id)
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


def _new_cluster_id() -> str:
    # Kafka's ids are 16 bytes in URL-safe base64 without padding; one that begins with a hyphen reads as an option.
    return "k" + urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")[1:]


def main(arguments: list[str]) -> int:
    """Run a node until Ctrl-C or SIGTERM; return the exit code: 0 it ran, 2 it could not."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.kafka",
        description="Run Apache Kafka on this machine until Ctrl-C. Needs Java 17 or newer and, the first time, Maven.",
    )
    parser.add_argument(
        "--port", type=int, default=9092, help="default: 9092, where a worker looks for it; 0 takes a free one"
    )
    given = parser.parse_args(arguments)
    try:
        asyncio.run(_run_until_stopped(given.port))
    except ServerMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run_until_stopped(port: int) -> None:
    if port and not is_free(port):
        raise ServerMissing(f"port {port} is in use, by another broker perhaps; --port 0 takes a free one")
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with ApacheKafka(port) as servers:
        print(f"KAFKA_BOOTSTRAP_SERVERS={servers}", flush=True)  # noqa: T201 - what the caller needs
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
