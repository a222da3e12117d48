"""Which real S3 server the tests run on: one whose address is set, one in a container, one started on this machine.

- ``TEST_S3_URL``, with the credentials that the AWS variables hold. Buckets named test-... are made in it.
- a container, where a Docker engine answers;
- else ``deploy/local/s3.py``, where its program is there or Go is, to build it.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

from deploy.local.s3 import S3Server, server_binary
from tests.docker_engine import docker_answers

ADDRESS = "TEST_S3_URL"
#: The same server as ``deploy/local/versitygw`` builds. No test of ours has run on this rung yet.
IMAGE = "ghcr.io/versity/versitygw:v1.8.0"
_PORT = 7070

Rung = Literal["address", "container", "process"]


class S3Access(NamedTuple):
    """Where an S3 server is, and what it lets in."""

    url: str
    access_key: str
    secret_key: str

    def variables(self) -> dict[str, str]:
        """Return the variables that lead every AWS client there."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def rung() -> Rung | None:
    """Return the first step of the ladder that can be taken here; None where there is none."""
    if os.environ.get(ADDRESS):
        return "address"
    if docker_answers():
        return "container"
    return "process" if process_possible() else None


def process_possible() -> bool:
    """Return whether a server can be a process of this machine."""
    return bool(shutil.which("go"))


def description(taken: Rung | None) -> str:
    """Return what a run says of its real S3 server."""
    if taken is None:
        return f"no real server: that needs Go 1.25 or newer once, or Docker, or {ADDRESS}"
    sources = {
        "address": f"the server at {os.environ.get(ADDRESS)}",
        "container": f"{IMAGE} in a container",
        "process": "versitygw, built from its Go module",
    }
    return sources[taken]


def prepare(taken: Rung) -> None:
    """Have the server's program at hand. Built where it is not: that takes minutes, once. Raises ServerMissing."""
    if taken == "process":
        asyncio.run(server_binary())


@asynccontextmanager
async def real_s3(taken: Rung) -> AsyncIterator[S3Access]:
    """Start the server of a rung, or find the one that runs; stop what was started."""
    if taken == "address":
        keys = [os.environ.get(name, "test") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        yield S3Access(os.environ[ADDRESS], *keys)
    elif taken == "container":
        async with _container() as access:
            yield access
    else:
        async with S3Server() as server:
            yield S3Access(server.url, server.access_key, server.secret_key)


@asynccontextmanager
async def _container() -> AsyncIterator[S3Access]:
    # Only where a container is wanted: it brings the Docker client with it.
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - the reason is above
    from testcontainers.core.wait_strategies import HttpWaitStrategy  # noqa: PLC0415 - the same

    container = (
        DockerContainer(IMAGE)
        .with_env("ROOT_ACCESS_KEY_ID", "test")
        .with_env("ROOT_SECRET_ACCESS_KEY", "test-secret")
        .with_command(f"--port :{_PORT} --health /health posix /tmp")
        .with_exposed_ports(_PORT)
        .waiting_for(HttpWaitStrategy(_PORT, "/health"))
    )
    await asyncio.to_thread(container.start)
    try:
        address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(_PORT)}"
        yield S3Access(address, "test", "test-secret")
    finally:
        await asyncio.to_thread(container.stop)
