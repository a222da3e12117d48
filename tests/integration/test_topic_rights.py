"""Apache Kafka with an authorizer: each role does its work with its rights (topic_rights.py), and no more."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest

from contracts.topics import TOPICS
from deploy.local.kafka import ApacheKafka
from handlers.errors import Unavailable
from handlers.ports.jobs import JobSpec
from handlers.table import STAGES
from tests import kafka_servers
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.tokens import FakeTokenCounter
from tests.platform import form, platform
from tests.running import running_worker
from tests.wait import wait_until
from worker.clock import SystemClock
from worker.console.changes import Changes
from worker.console.follower import follow
from worker.console.view import View
from worker.delivery import later
from worker.delivery.publishing import Publisher
from worker.kafka.broker import Brokers, connected
from worker.kafka.topic_check import wrong_topics
from worker.kafka.topic_rights import PLATFORM_GROUPS, Right, rights
from worker.kafka.topics import TopicCreationError, ensure_topics
from worker.publish import publish_event
from worker.settings import Settings
from worker.trainer.event_sink import EventSink
from worker.trainer.kafka_sender import KafkaSender
from worker.trainer.progress import Reporter

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not kafka_servers.process_possible(), reason="Java and Maven run Apache Kafka"),
]

_PASSWORD = "let me in"
_ROLES = rights(Settings().group_of)
# Kafka's own numbers: org.apache.kafka.common.resource.ResourceType, PatternType, acl.AclOperation.
_RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3


class Authorized(NamedTuple):
    """A broker where who does not give a name may do everything, and each role what is its own."""

    kafka: ApacheKafka
    folder: Path

    def settings(self, role: str) -> Settings:
        return Settings(
            kafka_bootstrap_servers=self.kafka.address("SASL"),
            kafka_security_protocol="sasl_plaintext",
            kafka_sasl_mechanism="plain",
            kafka_username=role,
            kafka_password=_PASSWORD,
            storage_url=(self.folder / "bucket").as_uri(),
            work_dir=self.folder,
            session_timeout_seconds=3.0,
        )

    def brokers(self, role: str) -> Brokers:
        return Brokers.of(self.settings(role))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authorized(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Authorized]:
    users = " ".join(f'user_{role}="{_PASSWORD}"' for role in _ROLES)
    kafka = ApacheKafka(
        listeners={"SASL": "SASL_PLAINTEXT"},
        properties={
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": (
                f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    async with kafka as servers:
        async with connected(AIOKafkaAdminClient, Brokers(servers)) as admin:
            for role, granted in _ROLES.items():
                for right in granted:
                    await _grant(admin, role, right)
        made = Authorized(kafka, tmp_path_factory.mktemp("authorized"))
        with pytest.raises(TopicCreationError, match="TopicAuthorizationFailed"):
            await ensure_topics(made.brokers("worker"))
        created = await ensure_topics(made.brokers("operator"), delays=later.names(STAGES))
        assert set(TOPICS) < set(created)
        await _served(servers)
        yield made


async def _served(servers: str) -> None:
    """Wait until the broker serves what it has just made: that takes a busy one longer than a trainer's patience."""
    async with connected(AIOKafkaConsumer, Brokers(servers), request_timeout_ms=90_000) as consumer:
        await consumer.end_offsets(
            [TopicPartition(name, number) for name, topic in TOPICS.items() for number in range(topic.partitions)]
        )


async def _grant(admin: AIOKafkaAdminClient, role: str, right: Right) -> None:
    pattern = _PREFIXED if right.prefix else _LITERAL
    client: Any = admin._client
    for operation in right.operations:
        request = CreateAclsRequest(
            _RESOURCES[right.resource], right.name, pattern, f"User:{role}", "*", _OPERATIONS[operation], _ALLOW
        )
        answer = await client.send(client.get_random_node(), request)
        assert [code for code, _ in answer.creation_responses] == [0], right


async def test_a_worker_takes_in_what_a_platform_says_and_answers_and_gives_up_poison(authorized: Authorized) -> None:
    ports = {"executors": FakeExecutors(FakeExecutor()), "tokens": FakeTokenCounter()}
    async with running_worker(authorized.settings("worker"), ports=ports):
        async with platform(authorized.kafka.address()) as seen:
            body = msgspec.json.encode(form("task-1", "a-dataset"))
            await publish_event(authorized.settings("platform"), "task.created", body)
            status = await seen.wait_for("task.status", "task-1")
            assert status.data.task_id == "task-1"
            publisher = Publisher(authorized.brokers("platform"))
            await publisher.send([("dataset.imported", b"d", b"no JSON", [])])
            await publisher.stop()
            await wait_until(lambda: bool(seen.letters))
        async with connected(
            AIOKafkaConsumer, authorized.brokers("platform"), "task.status",
            group_id=f"{PLATFORM_GROUPS}.statuses", auto_offset_reset="earliest",
        ) as reader:  # fmt: skip
            record = await reader.getone()
            assert record.key == b"task-1"


async def test_a_trainer_says_its_progress_and_nothing_else(authorized: Authorized) -> None:
    brokers = authorized.brokers("trainer")
    spec = JobSpec(job_id="job", task_id="task", attempt=1, plan_key="p", attempt_prefix="a/", first_seq=1)
    with EventSink(KafkaSender(brokers)) as sink:
        Reporter(spec, sink, SystemClock().now, lambda: None).deploying()
        assert await asyncio.to_thread(sink.close, 20)
    publisher = Publisher(brokers)
    with pytest.raises(Unavailable, match="TopicAuthorizationFailed"):
        await publisher.send([("task.status", b"task", b"{}", [])])
    await publisher.stop()


async def test_a_platform_may_not_join_a_worker_s_group(authorized: Authorized) -> None:
    group = Settings().group_of(STAGES[0].name)
    with pytest.raises(GroupAuthorizationFailedError):
        async with connected(AIOKafkaConsumer, authorized.brokers("platform"), "task.status", group_id=group) as reader:
            await reader.getone()


async def test_a_platform_may_not_read_dead_letters(authorized: Authorized) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        async with connected(
            AIOKafkaConsumer, authorized.brokers("platform"), "task.created.dead-letter", auto_offset_reset="earliest"
        ) as reader:
            await reader.getone()


async def test_the_console_reads_all_it_shows(authorized: Authorized) -> None:
    view = View(Changes())
    following = asyncio.create_task(follow(authorized.brokers("console"), view))
    try:
        await wait_until(lambda: view.caught_up)
    finally:
        following.cancel()


async def test_an_operator_compares_the_topics(authorized: Authorized) -> None:
    assert await wrong_topics(authorized.brokers("operator")) == []
