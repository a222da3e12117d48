"""Creates the topics on the broker."""

from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from contracts.topics import TOPICS, Topic
from worker.broker import connected

#: Copies of every partition, as far as there are brokers.
REPLICAS = 3


class TopicCreationError(RuntimeError):
    """The broker refused to create topics; the text names each with the broker's reason."""


async def ensure_topics(bootstrap_servers: str, topics: Iterable[Topic] = TOPICS.values()) -> list[str]:
    """Create the topics that are missing, each with its dead-letter topic, and return their names.

    Idempotent and safe beside others that do the same. What exists is left as it is: neither its partitions
    nor its settings are touched, for they may be an operator's decision.

    Raises:
        BrokerUnavailable: no broker answers.
        TopicCreationError: the broker refused.
    """
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    async with connected(client, bootstrap_servers) as admin:
        existing = set(await admin.list_topics())
        replicas = min(REPLICAS, len((await admin.describe_cluster())["brokers"]))
        wanted = [new for topic in topics for new in _with_dead_letter(topic, replicas)]
        missing = [new for new in wanted if new.name not in existing]
        if not missing:
            return []
        response = await admin.create_topics(missing)
    return names_created(response.topic_errors)


def _with_dead_letter(topic: Topic, replicas: int) -> list[NewTopic]:
    settings = {"cleanup.policy": "compact" if topic.compacted else "delete"}
    return [
        NewTopic(topic.name, topic.partitions, replicas, topic_configs=settings),
        NewTopic(topic.dead_letter, topic.partitions, replicas, topic_configs={"cleanup.policy": "delete"}),
    ]


def names_created(errors: Iterable[Sequence[Any]]) -> list[str]:
    """Return the topics a broker's answer, (name, error code, text) each, says it created.

    One that another worker created in the meantime is there, and no error.

    Raises:
        TopicCreationError: the broker refused one.
    """
    created, refused = [], []
    for name, code, *text in errors:
        if code == 0:
            created.append(str(name))
        elif code != TopicAlreadyExistsError.errno:
            refused.append(" ".join([f"{name}: {for_code(code).__name__}", *filter(None, text)]))
    if refused:
        raise TopicCreationError("; ".join(refused))
    return created
