"""Whether the topics on the broker are as the contracts want them. A wrong one loses events without a word."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from contracts.topics import TOPICS, Topic
from handlers.table import STAGES
from worker.could_not import CouldNot
from worker.delivery import later
from worker.kafka.broker import Brokers, connected
from worker.kafka.topics import new_delay_topic, new_topics

#: The setting of a topic that is not there.
MISSING = "existence"
_FOREVER = -1


class TopicsUnreadable(CouldNot):
    """The broker does not tell how its topics are set up."""


class Wrong(NamedTuple):
    """A setting that would lose events or change their meaning, and the command that puts it right.

    ``setting`` is MISSING where the topic is not there at all.
    """

    topic: str
    setting: str
    found: str
    wanted: str
    remedy: str


async def wrong_topics(brokers: Brokers, topics: Iterable[Topic] = TOPICS.values()) -> list[Wrong]:
    """Return everything that is wrong about the topics on the broker. Only reads.

    More partitions, copies or retention than wanted are an operator's decision, and not wrong.

    Raises BrokerUnavailable, TopicsUnreadable.
    """
    async with connected(AIOKafkaAdminClient, brokers) as admin:
        replicas = min(3, len((await admin.describe_cluster())["brokers"]))
        wanted = [new for topic in topics for new in new_topics(topic, replicas)]
        wanted += [new_delay_topic(name, replicas) for name in later.names(STAGES)]
        there = set(await admin.list_topics())
        described = {found["topic"]: found for found in await admin.describe_topics(sorted(there))} if there else {}
        configs = await _configs(admin, [new.name for new in wanted if new.name in there])
    wrong: list[Wrong] = []
    for new in wanted:
        if new.name not in there:
            wrong.append(Wrong(new.name, MISSING, "missing", "there", "worker topics create"))
        else:
            wrong += _partitions(new, described[new.name]) + _settings(new, configs.get(new.name, {}))
    return wrong


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    configs: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, _, _, name, entries in answer.resources:
            if code:
                why = for_code(code).__name__
                raise TopicsUnreadable(
                    f"the broker does not tell how {name} is set up: {why}; allow DESCRIBE_CONFIGS on the topics"
                )
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


def _partitions(new: NewTopic, found: dict[str, Any]) -> list[Wrong]:
    count = len(found["partitions"])
    copies = min((len(place["replicas"]) for place in found["partitions"]), default=0)
    wrong = []
    if count < new.num_partitions:
        # More partitions send a key elsewhere than before; what is judged by revision and seq bears that.
        remedy = f"kafka-topics.sh --alter --topic {new.name} --partitions {new.num_partitions}"
        wrong.append(Wrong(new.name, "partitions", str(count), f"{new.num_partitions} or more", remedy))
    if copies < new.replication_factor:
        remedy = f"kafka-reassign-partitions.sh, for {new.replication_factor} copies of {new.name}"
        wrong.append(Wrong(new.name, "replication factor", str(copies), f"{new.replication_factor} or more", remedy))
    return wrong


def _settings(new: NewTopic, found: dict[str, str]) -> list[Wrong]:
    wrong = []
    for setting, wanted in (new.topic_configs or {}).items():
        have = found.get(setting)
        if have is not None and not _good_enough(setting, have, wanted):
            more = " or more" if wanted.isdecimal() else ""
            remedy = f"kafka-configs.sh --alter --topic {new.name} --add-config {setting}={wanted}"
            wrong.append(Wrong(new.name, setting, have, wanted + more, remedy))
    return wrong


def _good_enough(setting: str, have: str, wanted: str) -> bool:
    if setting == "cleanup.policy":
        return have == wanted
    return int(have) == _FOREVER or int(have) >= int(wanted)
