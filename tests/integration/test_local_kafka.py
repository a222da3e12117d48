"""Apache Kafka of this machine starts where another process has one of its ports."""

import socket
from contextlib import closing

import pytest

from deploy.local import server_process
from deploy.local.kafka import ApacheKafka
from tests.integration.conftest import BROKERS
from worker.kafka.broker import Brokers
from worker.kafka.topics import ensure_topics

pytestmark = pytest.mark.skipif("apache-kafka" not in BROKERS, reason="Java and Maven run Apache Kafka")


@pytest.mark.long
@pytest.mark.parametrize("which", [0, 1], ids=["of clients", "of the controller"])
async def test_a_port_that_was_taken_is_left_to_who_has_it(which: int, monkeypatch: pytest.MonkeyPatch) -> None:
    free_ports, asked = server_process.free_ports, 0

    def one_is_taken(count: int) -> list[int]:
        nonlocal asked
        asked += 1
        ports = free_ports(count)
        if asked == 1:
            ports[which] = int(other.getsockname()[1])
        return ports

    monkeypatch.setattr(server_process, "free_ports", one_is_taken)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        async with ApacheKafka() as servers:
            assert asked == 2
            await ensure_topics(Brokers(servers))
