"""Topics that are silently wrong are named, with the remedy; what is an operator's decision is not."""

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from handlers.table import STAGES
from tests import kafka_servers
from worker.broker import connected
from worker.delivery import later
from worker.topic_check import wrong_topics
from worker.topics import ensure_topics

pytestmark = [
    pytest.mark.parametrize("servers", ["apache-kafka"], indirect=True),
    pytest.mark.skipif(kafka_servers.rung() is None, reason="the embedded broker keeps no settings of topics"),
]


async def _delete(servers: str, *names: str) -> None:
    async with connected(AIOKafkaAdminClient(bootstrap_servers=servers), servers) as admin:
        await admin.delete_topics(list(names))


async def _create(servers: str, *topics: NewTopic) -> None:
    async with connected(AIOKafkaAdminClient(bootstrap_servers=servers), servers) as admin:
        await admin.create_topics(list(topics))


async def test_what_we_make_is_right(servers: str) -> None:
    await ensure_topics(servers, delays=later.names(STAGES))
    assert await wrong_topics(servers) == []


async def test_each_wrong_setting_is_named_with_its_remedy(servers: str) -> None:
    await ensure_topics(servers, delays=later.names(STAGES))
    names = ("task.status", "task.created", "task.command.dead-letter", "model.exported")
    await _delete(servers, *names)
    await _create(
        servers,
        NewTopic("task.status", 12, 1, topic_configs={"cleanup.policy": "delete"}),
        NewTopic("task.created", 2, 1),
        NewTopic("task.command.dead-letter", 12, 1, topic_configs={"retention.ms": "60000"}),
    )
    wrong = {(each.topic, each.setting): each for each in await wrong_topics(servers)}
    assert set(wrong) == {
        ("task.status", "cleanup.policy"),
        ("task.created", "partitions"),
        ("task.command.dead-letter", "retention.ms"),
        ("model.exported", "existence"),
    }
    assert wrong["task.status", "cleanup.policy"].remedy.endswith("--add-config cleanup.policy=compact")
    assert wrong["task.created", "partitions"].found == "2"


async def test_more_than_is_wanted_is_an_operators_decision(servers: str) -> None:
    await ensure_topics(servers, delays=later.names(STAGES))
    await _delete(servers, "task.command.dead-letter")
    await _create(servers, NewTopic("task.command.dead-letter", 12, 1, topic_configs={"retention.ms": "-1"}))
    async with connected(AIOKafkaAdminClient(bootstrap_servers=servers), servers) as admin:
        await admin.create_partitions({"task.created": NewPartitions(24)})
    assert await wrong_topics(servers) == []
