"""Apache Kafka, one KRaft node, with this machine's Java: ``python -m deploy.local.kafka`` runs one until Ctrl-C.

The jars come from Maven Central through ``mvn`` and stay in a cache folder; a start takes a few seconds. It keeps
nothing after its end.
"""

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from worker import tied_process

_POM = Path(__file__).with_name("kafka-pom.xml")
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "finetune-worker"
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


class KafkaMissing(RuntimeError):
    """Apache Kafka cannot be started here; the text says what is missing."""


class ApacheKafka:
    """``async with ApacheKafka() as bootstrap_servers:`` - a fresh node on a loopback port, a free one by default.

    ``kill`` and ``restart`` are for tests of what a broker's end does; what was acknowledged survives them.
    """

    def __init__(self, port: int | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._port = port or _free_port()
        self._process: asyncio.subprocess.Process | None = None
        self.bootstrap_servers = f"127.0.0.1:{self._port}"

    async def __aenter__(self) -> str:
        try:
            await self._begin()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self.bootstrap_servers

    async def _begin(self) -> None:
        text = _PROPERTIES.format(port=self._port, controller=_free_port(), folder=self._folder)
        self._properties.write_text(text)
        jars = await jars_folder()
        await _run(
            *("java", "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format"),
            *("-t", _cluster_id(), "-c", str(self._properties)),
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
        """Start the node and wait until it answers."""
        jars = await jars_folder()
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tied_process.__file__, str(os.getpid())),
                *(_java(), "-Xmx384m", "-cp", f"{jars}/*", "kafka.Kafka", str(self._properties)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _answers(self.bootstrap_servers):
                    if self._process.returncode is not None:
                        raise KafkaMissing(f"Kafka ended at its start:\n{self._log_tail()}")
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise KafkaMissing(f"Kafka did not answer within {_START_SECONDS:.0f} s:\n{self._log_tail()}") from error

    async def stop(self) -> None:
        """Stop the node in order; kill it where that takes too long."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> None:
        """End the node as a power cut would."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    def _log_tail(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-1500:]


async def jars_folder() -> Path:
    """Return the folder with Kafka's jars, fetching them once. Raises KafkaMissing without Java or Maven."""
    _java()
    folder = _CACHE / f"kafka-{sha256(_POM.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    if shutil.which("mvn") is None:
        raise KafkaMissing("Maven (mvn) is needed once, to fetch Apache Kafka's jars")
    _CACHE.mkdir(parents=True, exist_ok=True)
    arriving = Path(tempfile.mkdtemp(dir=_CACHE))
    await _run("mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", f"-DoutputDirectory={arriving}")
    return _keep(arriving, folder)


def _keep(arriving: Path, folder: Path) -> Path:
    try:
        arriving.rename(folder)
    except OSError:
        shutil.rmtree(arriving)  # Another process was first.
    return folder


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise KafkaMissing("Java 17 or newer is needed to run Apache Kafka")
    return java


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise KafkaMissing(f"{command[0]} ended with {process.returncode}:\n{out.decode(errors='replace')[-1500:]}")


async def _answers(bootstrap_servers: str) -> bool:
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
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
    return True


def _cluster_id() -> str:
    # Kafka's ids are 16 bytes in URL-safe base64 without padding; one that begins with a hyphen reads as an option.
    return "k" + urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")[1:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the broker does: what a broker that has just ended leaves of its connections is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


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
    except KafkaMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run_until_stopped(port: int) -> None:
    if port and not _is_free(port):
        raise KafkaMissing(f"port {port} is in use, by another broker perhaps; --port 0 takes a free one")
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with ApacheKafka(port) as servers:
        print(f"KAFKA_BOOTSTRAP_SERVERS={servers}", flush=True)  # noqa: T201 - what the caller needs
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
