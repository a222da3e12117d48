"""Topics that are silently wrong are named, with the remedy; what is an operator's decision is not."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from handlers.table import STAGES
from tests import kafka_servers
from tests.wait import wait_until
from worker.delivery import later
from worker.kafka.broker import Brokers, connected
from worker.kafka.topic_check import wrong_topics
from worker.kafka.topics import ensure_topics

pytestmark = pytest.mark.skipif(
    kafka_servers.rung() is None, reason="the embedded broker keeps no settings of topics: needs Apache Kafka"
)


@pytest.fixture
async def empty() -> AsyncIterator[str]:
    """Apache Kafka without a topic."""
    async with kafka_servers.real_kafka() as address:
        yield address


async def _create(servers: str, *topics: NewTopic) -> None:
    async with connected(AIOKafkaAdminClient, Brokers(servers)) as admin:
        await admin.create_topics(list(topics))

        async def listed() -> bool:
            return {topic.name for topic in topics} <= set(await admin.list_topics())

        await wait_until(listed, 60, "the topics")


async def test_what_we_make_is_right(empty: str) -> None:
    assert {each.setting for each in await wrong_topics(Brokers(empty))} == {"existence"}
    await ensure_topics(Brokers(empty), delays=later.names(STAGES))
    assert await wrong_topics(Brokers(empty)) == []


async def test_each_wrong_setting_is_named_with_its_remedy(empty: str) -> None:
    await _create(
        empty,
        NewTopic("task.status", 12, 1, topic_configs={"cleanup.policy": "delete"}),
        NewTopic("task.created", 2, 1),
        NewTopic("task.command.dead-letter", 12, 1, topic_configs={"retention.ms": "60000"}),
    )
    await ensure_topics(Brokers(empty), delays=later.names(STAGES))
    wrong = {(each.topic, each.setting): each for each in await wrong_topics(Brokers(empty))}
    assert set(wrong) == {
        ("task.status", "cleanup.policy"),
        ("task.created", "partitions"),
        ("task.command.dead-letter", "retention.ms"),
    }
    assert wrong["task.status", "cleanup.policy"].remedy.endswith("--add-config cleanup.policy=compact")
    assert wrong["task.created", "partitions"].found == "2"


async def test_more_than_is_wanted_is_an_operators_decision(empty: str) -> None:
    await _create(
        empty,
        NewTopic("task.created", 24, 1),
        NewTopic("task.command.dead-letter", 12, 1, topic_configs={"retention.ms": "-1"}),
    )
    await ensure_topics(Brokers(empty), delays=later.names(STAGES))
    assert await wrong_topics(Brokers(empty)) == []
