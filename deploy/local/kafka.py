"""Apache Kafka, one KRaft node, with this machine's Java: ``python -m deploy.local.kafka`` runs one until Ctrl-C.

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
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.server_process import CACHE, ServerMissing, ServerProcess, is_free, on_free_ports, program, run

_POM = Path(__file__).with_name("kafka-pom.xml")
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
"""


class ApacheKafka:
    """``async with ApacheKafka() as bootstrap_servers:`` - a fresh node on a loopback port, a free one by default.

    ``kill`` and ``start`` are for tests of what a broker's end does; what was acknowledged survives them.
    """

    def __init__(self, port: int | None = None) -> None:
        self._port = port
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._cluster_id = _new_cluster_id()
        self._process = ServerProcess(
            "Kafka", self._folder / "log", start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS
        )
        self.bootstrap_servers = ""

    async def __aenter__(self) -> str:
        try:
            await on_free_ports(2, self._start_on, first=self._port)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self.bootstrap_servers

    async def _start_on(self, ports: list[int]) -> None:
        port, controller = ports
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._properties.write_text(_PROPERTIES.format(port=port, controller=controller, folder=self._folder))
        jars = await jars_folder()
        await run(
            *(_java(), "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "--ignore-formatted"),
            *("-t", self._cluster_id, "-c", str(self._properties)),
        )
        await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    async def start(self) -> None:
        """Start the node and wait until it answers; after ``stop`` or ``kill``, on the same records and ports."""
        jars = await jars_folder()
        command = [_java(), "-Xmx384m", "-cp", f"{jars}/*", "kafka.Kafka", str(self._properties)]
        await self._process.start(command, lambda: _answers(self.bootstrap_servers, self._cluster_id))

    async def stop(self) -> None:
        """Stop the node in order; kill it where that takes too long."""
        await self._process.stop()

    async def kill(self) -> None:
        """End the node as a power cut would."""
        await self._process.kill()


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
