"""The topics on the broker: which are missing, and creating those."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from contracts.topics import TOPICS, Topic
from worker.could_not import CouldNot
from worker.kafka.broker import Brokers, connected

#: Copies of every partition, as far as there are brokers.
REPLICAS = 3

#: A dead letter may be the only copy left of an event: three months in which somebody can put it back.
DEAD_LETTER_RETENTION_MS = 90 * 24 * 3600 * 1000


#: A week: a service that stood still for so long still finds what waited.
DELAYED_RETENTION_MS = 7 * 24 * 3600 * 1000
DELAY_PARTITIONS = 3

_LISTING_TRIES, _LISTING_SECONDS = 100, 0.05


class TopicCreationError(CouldNot, RuntimeError):
    """The broker refused to create topics; the text names each with the broker's reason."""


async def ensure_topics(
    brokers: Brokers, topics: Iterable[Topic] = TOPICS.values(), delays: Collection[str] = ()
) -> list[str]:
    """Create the topics that are missing, each with its dead-letter topic, and return their names. ``delays`` are the
    names of delay topics.

    Idempotent and safe beside others that do the same. What exists is left as it is: neither its partitions
    nor its settings are touched, for they may be an operator's decision.

    Raises:
        BrokerUnavailable: no broker answers.
        TopicCreationError: the broker refused.
    """
    async with connected(AIOKafkaAdminClient, brokers) as admin:
        missing = await _missing(admin, topics, delays)
        if not missing:
            return []
        response = await admin.create_topics(missing)
        created = names_created(response.topic_errors)
        await _until_listed(admin, created)
    return created


async def _until_listed(admin: AIOKafkaAdminClient, names: Collection[str]) -> None:
    """Wait, bounded, until the broker we speak to has heard of topics that its controller made."""
    for _ in range(_LISTING_TRIES):
        if set(names) <= set(await admin.list_topics()):
            return
        await asyncio.sleep(_LISTING_SECONDS)


async def missing_topics(
    brokers: Brokers, topics: Iterable[Topic] = TOPICS.values(), delays: Collection[str] = ()
) -> list[str]:
    """Return the names of the topics, and dead-letter topics, that :func:`ensure_topics` would create. Only reads.

    Raises:
        BrokerUnavailable: no broker answers.
    """
    async with connected(AIOKafkaAdminClient, brokers) as admin:
        return [new.name for new in await _missing(admin, topics, delays)]


async def _missing(admin: AIOKafkaAdminClient, topics: Iterable[Topic], delays: Collection[str]) -> list[NewTopic]:
    existing = set(await admin.list_topics())
    replicas = min(REPLICAS, len((await admin.describe_cluster())["brokers"]))
    wanted = [new for topic in topics for new in new_topics(topic, replicas)]
    wanted += [new_delay_topic(name, replicas) for name in delays]
    return [new for new in wanted if new.name not in existing]


def new_topics(topic: Topic, replicas: int) -> list[NewTopic]:
    """Return what to create for a topic: itself and its dead letters, with so many copies of each partition.

    A write needs all copies but one: with three, one broker's end neither loses what was acknowledged nor
    stops the service. The broker's own default, one copy, would let an acknowledged event be lost.
    """
    durable = {"min.insync.replicas": str(max(1, replicas - 1))}
    own = durable | {"cleanup.policy": "compact" if topic.compacted else "delete"}
    dead = durable | {"cleanup.policy": "delete", "retention.ms": str(DEAD_LETTER_RETENTION_MS)}
    return [
        NewTopic(topic.name, topic.partitions, replicas, topic_configs=own),
        NewTopic(topic.dead_letter, topic.partitions, replicas, topic_configs=dead),
    ]


def new_delay_topic(name: str, replicas: int) -> NewTopic:
    """Return what to create for a delay topic. Few records ever wait, and none for longer than a week."""
    durable = {"min.insync.replicas": str(max(1, replicas - 1)), "cleanup.policy": "delete"}
    kept = {"retention.ms": str(DELAYED_RETENTION_MS)}
    return NewTopic(name, DELAY_PARTITIONS, replicas, topic_configs=durable | kept)


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
