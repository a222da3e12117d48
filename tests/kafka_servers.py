"""Which Apache Kafka the tests run on: one whose address is set, one in a container, one started on this machine.

- ``TEST_KAFKA_SERVERS``: a broker for tests alone. The service's topics in it are deleted before each test.
- a container, where a Docker engine answers;
- else ``deploy/local/kafka.py``, where Java and Maven are.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from aiokafka.admin import AIOKafkaAdminClient

from contracts.topics import TOPICS
from deploy.local.kafka import ApacheKafka
from tests.docker_engine import docker_answers
from tests.wait import wait_until

ADDRESS = "TEST_KAFKA_SERVERS"
#: No test of ours has run on this rung yet.
IMAGE = "apache/kafka:4.1.0"

Rung = Literal["address", "container", "process"]


def rung() -> Rung | None:
    """Return the first step of the ladder that can be taken here; None where there is none."""
    if os.environ.get(ADDRESS):
        return "address"
    if docker_answers():
        return "container"
    return "process" if process_possible() else None


def process_possible() -> bool:
    """Return whether a broker can be a process of this machine."""
    return bool(shutil.which("java") and shutil.which("mvn"))


def description(taken: Rung | None) -> str:
    """Return what a run says of its broker."""
    if taken is None:
        return f"embedded only; Apache Kafka needs Java 17 and Maven, or Docker, or {ADDRESS}"
    sources = {
        "address": f"Apache Kafka at {os.environ.get(ADDRESS)}",
        "container": f"Apache Kafka, {IMAGE} in a container",
        "process": "Apache Kafka, jars from Maven Central with this machine's Java",
    }
    return f"{sources[taken]}; the embedded one too"


@asynccontextmanager
async def real_kafka() -> AsyncIterator[str]:
    """Start an empty broker by the ladder, or empty the one that runs; yields its address."""
    taken = rung()
    if taken == "address":
        await _without_our_topics(os.environ[ADDRESS])
        yield os.environ[ADDRESS]
    elif taken == "container":
        async with _container() as address:
            yield address
    else:
        async with ApacheKafka(brief=True) as address:
            yield address


async def _without_our_topics(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        ours = {name for topic in TOPICS.values() for name in (topic.name, topic.dead_letter)}
        if there := sorted(ours & set(await admin.list_topics())):
            await admin.delete_topics(there)

        async def gone() -> bool:
            return not ours & set(await admin.list_topics())

        await wait_until(gone, 60, "the broker to forget the topics")
    finally:
        await admin.close()


@asynccontextmanager
async def _container() -> AsyncIterator[str]:
    # Only where a container is wanted: it brings the Docker client with it.
    from testcontainers.kafka import KafkaContainer  # noqa: PLC0415 - the reason is above

    container = KafkaContainer(IMAGE).with_kraft()
    await asyncio.to_thread(container.start)
    try:
        yield container.get_bootstrap_server()
    finally:
        await asyncio.to_thread(container.stop)
