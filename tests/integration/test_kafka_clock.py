"""What time Kafka has: its controller's, where it tells it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.conftest import BROKERS
from worker.kafka.broker import Brokers
from worker.kafka.clock import UnknownTime, controller_time
from worker.kafka.embedded import EmbeddedBroker


@pytest.mark.skipif("apache-kafka" not in BROKERS, reason="Java and Maven run Apache Kafka")
@pytest.mark.parametrize("servers", ["apache-kafka"], indirect=True)
async def test_a_controller_on_this_machine_has_our_time(servers: str) -> None:
    before = datetime.now(UTC)
    theirs = await controller_time(Brokers(servers))
    # It cuts to milliseconds.
    assert before - timedelta(milliseconds=1) <= theirs <= datetime.now(UTC)


async def test_brokers_that_know_no_such_request_tell_nothing() -> None:
    async with EmbeddedBroker() as servers:
        with pytest.raises(UnknownTime, match="do not tell their time"):
            await controller_time(Brokers(servers))
