"""A real S3 server on this machine, versitygw over a folder: ``python -m deploy.local.s3`` runs one until Ctrl-C.

It honours If-None-Match and If-Match on PutObject under races, between processes too; every loser gets 412. It is
built once from its Go module, which takes two to four minutes on two cores, and stays in a cache folder (45 MB);
what Go builds it from is checked against go.sum. A start takes a tenth of a second, running takes 65 MB of memory.

Keys are paths of a file system: ``a`` and ``a/b`` cannot both be objects.
"""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import aioboto3

from deploy.local.go_program import go_program
from deploy.local.server_process import ServerProcess, on_free_ports
from deploy.local.until_stopped import run_until_stopped

_MODULE = Path(__file__).with_name("versitygw")
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class S3Server:
    """``async with S3Server() as server:`` - a server on a free loopback port, with credentials of its own.

    ``kill`` and ``start`` are for tests of what a server's end does: what was acknowledged is there afterwards, under
    the same address and credentials. (After the loss of the machine's power it may not be: nothing is synced.)

    The objects are in ``folder`` and stay there; where none is given, in a temporary one that goes at the end.
    ``keep_alive``: connections stay open between requests, as S3's do, and then a stop waits for them to be closed.

    Raises on entry:
        ServerMissing: the server can neither be found nor built, or does not start; the text says what to do.
    """

    def __init__(self, folder: Path | None = None, *, keep_alive: bool = False) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix="s3-"))
        self._folder = folder or self._temporary / "objects"
        self._options = ["--keep-alive"] if keep_alive else []
        self._port = 0
        self._health = f"/health-{secrets.token_hex(8)}"
        self.log_file = self._temporary / "log"
        self.url = ""
        self.access_key, self.secret_key = secrets.token_hex(10), secrets.token_hex(20)
        self._process = ServerProcess(
            "the S3 server", self.log_file, start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS
        )

    @property
    def pid(self) -> int | None:
        """Return the server's process id while it runs."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        try:
            await on_free_ports(1, self._start_on)
        except BaseException:
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        return self

    async def _start_on(self, ports: list[int]) -> None:
        self._port = ports[0]
        self.url = f"http://127.0.0.1:{self._port}"
        await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        shutil.rmtree(self._temporary, ignore_errors=True)

    async def start(self) -> None:
        """Start the server and wait until it answers; after ``stop`` or ``kill``, on the same objects and port."""
        binary = await server_binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        options = ["--port", f"127.0.0.1:{self._port}", "--health", self._health, *self._options]
        await self._process.start(
            [str(binary), *options, "posix", str(self._folder)],
            self._answers,
            env={"ROOT_ACCESS_KEY_ID": self.access_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key},
        )

    async def stop(self) -> None:
        """Stop the server in order; kill it where that takes too long. Idempotent."""
        await self._process.stop()

    async def kill(self) -> None:
        """End the server with SIGKILL, whatever it does just then. Idempotent."""
        await self._process.kill()

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead the worker, and every AWS tool, to this server."""
        return {
            "WORKER_S3_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    async def make_bucket(self, name: str) -> None:
        """Make a bucket. One that is there already stays as it is."""
        session = aioboto3.Session(self.access_key, self.secret_key, region_name="us-east-1")
        async with session.client("s3", endpoint_url=self.url) as client:
            if name not in {bucket["Name"] for bucket in (await client.list_buckets())["Buckets"]}:
                await client.create_bucket(Bucket=name)

    async def _answers(self) -> bool:
        # The path is this server's alone: another one may have taken the port first.
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        try:
            writer.write(f"GET {self._health} HTTP/1.0\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()


async def server_binary() -> Path:
    """Return the server's program, building it once. Raises ServerMissing without Go 1.25, or where that fails."""
    return await go_program("the S3 server", _MODULE, _PACKAGE)


def main(arguments: list[str]) -> int:
    """Run a server until Ctrl-C or SIGTERM; return the exit code: 0 it ran, 2 it could not."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.s3", description="An S3 server on this machine, until Ctrl-C."
    )
    parser.add_argument("--folder", type=Path, help="keep the objects here; default: a temporary folder")
    parser.add_argument("--bucket", default="worker", help="a bucket to make; default: worker")
    given = parser.parse_args(arguments)

    async def variables(server: S3Server) -> dict[str, str]:
        await server.make_bucket(given.bucket)
        return {**server.environment(), "WORKER_STORAGE_URL": f"s3://{given.bucket}"}

    return run_until_stopped(S3Server(given.folder), variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
