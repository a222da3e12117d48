"""How each stage's consumer group stands, as the broker tells it: who is in it, and what it has not done yet."""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, for_code

from handlers.table import STAGES
from worker.kafka.broker import Brokers, connected

#: A cluster's first look at a group makes the topic that groups are kept in, which takes a second or two.
_LOOKS = 20
_PAUSE_SECONDS = 0.5


class Standing(NamedTuple):
    """A stage's group.

    ``behind``: records of the stage's topics that are not done; those in delay topics wait on purpose, not counted.
    ``known``: the group has committed before, so somebody has run the stage.
    """

    stage: str
    members: int
    behind: int
    known: bool


async def standings(brokers: Brokers, group_of: Callable[[str], str]) -> list[Standing]:
    """Return how every stage stands, in the table's order. Joins no group and commits nothing.

    A moment's picture: what is in work counts as not done.

    Raises BrokerUnavailable; aiokafka's errors where the broker does not tell, such as GroupAuthorizationFailedError.
    """
    # A consumer without a group, which alone can ask for the ends of partitions.
    async with connected(AIOKafkaAdminClient, brokers) as admin, connected(AIOKafkaConsumer, brokers) as consumer:
        places = await _places(admin, {topic for stage in STAGES for topic in stage.topics})
        # The ends first: what is written and done between two questions must not count.
        ends = await consumer.end_offsets(places) if places else {}
        begins = await consumer.beginning_offsets(places) if places else {}
        found = []
        for stage in STAGES:
            group = group_of(stage.name)
            node = await _coordinator(admin, group)
            mine = [place for place in places if place.topic in stage.topics]
            done = await _done(admin, group, node, mine)
            # Where nothing was committed the stage begins at the beginning; what expired is nobody's to do.
            behind = sum(max(0, ends[place] - max(done.get(place, 0), begins[place])) for place in mine)
            found.append(Standing(stage.name, await _members(admin, group, node), behind, bool(done)))
    return found


async def _places(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> list[TopicPartition]:
    there = sorted(set(topics) & set(await admin.list_topics()))
    described = await admin.describe_topics(there) if there else []
    return [TopicPartition(found["topic"], each["partition"]) for found in described for each in found["partitions"]]


async def _coordinator(admin: AIOKafkaAdminClient, group: str) -> int:
    for _ in range(_LOOKS - 1):
        try:
            return int(await admin.find_coordinator(group))
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(_PAUSE_SECONDS)
    return int(await admin.find_coordinator(group))


async def _members(admin: AIOKafkaAdminClient, group: str, node: int) -> int:
    (answer,) = await admin.describe_consumer_groups([group], node)
    code, _, _, _, _, members, *_ = answer.groups[0]
    if code:
        raise for_code(code)(group)
    return len(members)


async def _done(
    admin: AIOKafkaAdminClient, group: str, node: int, places: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return up to where a group has committed, without partitions where it never has."""
    if not places:
        return {}
    offsets = await admin.list_consumer_group_offsets(group, node, places)
    return {place: found.offset for place, found in offsets.items() if found.offset >= 0}
