"""What time Kafka has. No request asks for it; but a KRaft controller that is asked for its quorum says, of itself,
when it last heard of its own log: now.

https://kafka.apache.org/protocol (DescribeQuorum), KIP-836
"""

from datetime import UTC, datetime
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from worker.kafka.broker import Brokers, connected

_TOPIC, _PARTITION = "__cluster_metadata", 0
_TAGS = ("tags", TaggedFields)
_REPLICA = Schema(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    _TAGS,
)
_QUORUM = Schema(
    ("partition", Int32),
    ("error_code", Int16),
    ("leader_id", Int32),
    ("leader_epoch", Int32),
    ("high_watermark", Int64),
    ("current_voters", CompactArray(_REPLICA)),
    ("observers", CompactArray(_REPLICA)),
    _TAGS,
)


class UnknownTime(Exception):
    """Kafka does not tell its time; the text says why."""


async def controller_time(brokers: Brokers) -> datetime:
    """Return the time of the clock of Kafka's active controller.

    Raises:
        UnknownTime: these brokers know no such request (ZooKeeper, other servers than Apache Kafka), or the account may
            not make it (DESCRIBE on the cluster).
        BrokerUnavailable: no broker answers.
    """
    async with connected(AIOKafkaAdminClient, brokers) as admin:
        client = admin._client  # noqa: SLF001 - aiokafka has no public way to make a request of one's own
        try:
            answer = await client.send(client.get_random_node(), _DescribeQuorum())
        except (IncompatibleBrokerVersion, NotImplementedError) as error:
            raise UnknownTime("these brokers do not tell their time") from error
        except KafkaError as error:
            raise UnknownTime(f"Kafka does not tell its time: {error!r}") from error
    if answer.error_code:
        raise UnknownTime(f"Kafka does not tell its time: {for_code(answer.error_code).__name__}")
    return _time(answer.to_object())


def _time(answer: dict[str, Any]) -> datetime:
    for topic in answer["topics"]:
        for quorum in topic["partitions"]:
            for voter in quorum["current_voters"]:
                if voter["replica_id"] == quorum["leader_id"] and voter["last_fetch_timestamp"] > 0:
                    return datetime.fromtimestamp(voter["last_fetch_timestamp"] / 1000, UTC)
    raise UnknownTime("these brokers do not tell their time")


class _Answer(Response):  # type: ignore[misc]  # aiokafka publishes no types
    API_KEY = 55
    API_VERSION = 1
    SCHEMA = Schema(
        ("error_code", Int16),
        ("topics", CompactArray(("topic", CompactString()), ("partitions", CompactArray(_QUORUM)), _TAGS)),
        _TAGS,
    )


class _Question(RequestStruct):  # type: ignore[misc]  # the same
    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic", CompactString()), ("partitions", CompactArray(("partition", Int32), _TAGS)), _TAGS),
        ),
        _TAGS,
    )


class _DescribeQuorum(Request[_Question]):  # type: ignore[misc]  # the same
    API_KEY = 55

    def build(self, request_struct_class: type[_Question]) -> _Question:
        return request_struct_class([(_TOPIC, [(_PARTITION, {})], {})], {})
