"""Creating the topics, on the embedded broker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.topics import TOPICS
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import (
    DEAD_LETTER_RETENTION_MS,
    TopicCreationError,
    ensure_topics,
    missing_topics,
    names_created,
    new_topics,
)

EVERY_TOPIC = {name for topic in TOPICS.values() for name in (topic.name, topic.dead_letter)}


@pytest.fixture
async def servers() -> AsyncIterator[str]:
    async with EmbeddedBroker() as address:
        yield address


@pytest.fixture
async def admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    async with connected(AIOKafkaAdminClient, Brokers(servers)) as client:
        yield client


async def test_every_topic_and_its_dead_letters_are_created_once(servers: str, admin: AIOKafkaAdminClient) -> None:
    assert set(await ensure_topics(Brokers(servers))) == EVERY_TOPIC
    assert set(await admin.list_topics()) == EVERY_TOPIC
    for description in await admin.describe_topics(sorted(TOPICS)):
        assert len(description["partitions"]) == TOPICS[description["topic"]].partitions

    assert await ensure_topics(Brokers(servers)) == []


async def test_topics_say_themselves_how_long_and_how_safely_they_keep_what_is_in_them(
    servers: str, admin: AIOKafkaAdminClient
) -> None:
    await ensure_topics(Brokers(servers))
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(EVERY_TOPIC)]

    settings = {
        name: {entry[0]: entry[1] for entry in entries}
        for response in await admin.describe_configs(resources)
        for _, _, _, name, entries in response.resources
    }

    assert set(settings) == EVERY_TOPIC
    assert {name for name, found in settings.items() if found["cleanup.policy"] == "compact"} == {"task.status"}
    assert all("min.insync.replicas" in found for found in settings.values())
    kept = {name: found["retention.ms"] for name, found in settings.items() if name.endswith(".dead-letter")}
    assert set(kept.values()) == {str(DEAD_LETTER_RETENTION_MS)}


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_an_acknowledged_event_survives_a_broker_where_there_are_three(replicas: int, in_sync: str) -> None:
    for new in new_topics(TOPICS["task.created"], replicas):
        assert (new.replication_factor, new.topic_configs["min.insync.replicas"]) == (replicas, in_sync)


async def test_looking_for_what_is_missing_creates_nothing(servers: str, admin: AIOKafkaAdminClient) -> None:
    assert set(await missing_topics(Brokers(servers))) == EVERY_TOPIC
    assert list(await admin.list_topics()) == []
    await ensure_topics(Brokers(servers))
    assert await missing_topics(Brokers(servers)) == []


async def test_what_exists_is_left_as_it_is(servers: str, admin: AIOKafkaAdminClient) -> None:
    await admin.create_topics([NewTopic("task.created", 5, 1)])

    created = await ensure_topics(Brokers(servers))

    assert set(created) == EVERY_TOPIC - {"task.created"}
    (description,) = await admin.describe_topics(["task.created"])
    assert len(description["partitions"]) == 5


async def test_workers_that_start_together_create_each_topic_once(servers: str) -> None:
    created = await asyncio.gather(*(ensure_topics(Brokers(servers)) for _ in range(5)))

    assert sorted(name for names in created for name in names) == sorted(EVERY_TOPIC)


def test_a_refusal_names_the_topic_and_the_brokers_reason() -> None:
    # The embedded broker refuses nothing.
    answer = [("made", 0, None), ("there.already", 36, "exists"), ("refused", 44, "policy"), ("no text", 37)]
    with pytest.raises(TopicCreationError, match=r"^refused: PolicyViolationError policy; no text: Inv[A-Za-z]+$"):
        names_created(answer)
    assert names_created(answer[:2]) == ["made"]


async def test_no_broker_is_said_in_one_line() -> None:
    with pytest.raises(BrokerUnavailable, match=r"no Kafka broker answers at 127\.0\.0\.1:1; "):
        await ensure_topics(Brokers("127.0.0.1:1"))
