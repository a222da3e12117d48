"""Who may do what with the topics and groups: the least that each program can do its work with. Pure: asks no broker.

Follows from the topics (who publishes) and from the stages' table (who reads, what is said), so a new topic or stage
has its rights at once. Kafka lets whoever may read or write also describe. Only operators get a right of the cluster.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from contracts.topics import TOPICS, Topic
from handlers.table import SAID_BY_SWEEPS, STAGES
from worker.delivery import later

Resource = Literal["topic", "group", "cluster"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]

CLUSTER = "kafka-cluster"
#: Groups of platforms begin with this.
PLATFORM_GROUPS = "platform"

_READ = {topic for stage in STAGES for topic in stage.topics}
_SAID = {topic for stage in STAGES for topic in stage.says}


class Right(NamedTuple):
    """What a role may do with a resource, or with all whose names begin so."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefix: bool = False


#: Returns the name of a stage's consumer group: ``Settings.group_of`` of the workers' settings.
GroupOf = Callable[[str], str]


def rights(group_of: GroupOf) -> dict[str, list[Right]]:
    """Return the rights of every role."""
    return {role: list(of(group_of)) for role, of in _ROLES.items()}


def kafka_acls(servers: str, user: str, right: Right) -> str:
    """Return the command of Kafka's own tool that gives a user a right. Repeating it changes nothing."""
    operations = " ".join(f"--operation {operation}" for operation in right.operations)
    what = f"--{right.resource}" if right.resource == "cluster" else f"--{right.resource} {right.name}"
    pattern = "prefixed" if right.prefix else "literal"
    return (
        f"kafka-acls.sh --bootstrap-server {servers} --add --allow-principal User:{user} {operations} {what} "
        f"--resource-pattern-type {pattern}"
    )


def _worker(group_of: GroupOf) -> Iterator[Right]:
    """Runs the stages. It sees all topics, or it would take them for missing and try to make them."""
    for topic in TOPICS.values():
        # What trainers left in the bucket, it publishes for them.
        says = topic.name in _SAID or topic.name in SAID_BY_SWEEPS or topic.publisher == "executors"
        yield _topic(topic.name, Read=topic.name in _READ, Write=says, DescribeConfigs=True)
        yield _topic(topic.dead_letter, Write=topic.name in _READ, DescribeConfigs=True)
    for name in later.names(STAGES):
        yield _topic(name, Read=True, Write=True, DescribeConfigs=True)
    for stage in STAGES:
        yield Right("group", group_of(stage.name), ("Read",))


def _trainer(_: GroupOf) -> Iterator[Right]:
    """Says how training goes, and reads nothing."""
    yield from (_topic(topic.name, Write=True) for topic in TOPICS.values() if topic.publisher == "executors")


def _platform(_: GroupOf) -> Iterator[Right]:
    """Whoever imports datasets and submits tasks, and wants to know what became of them."""
    for topic in TOPICS.values():
        if topic.publisher != "executors":
            yield _topic(topic.name, Read=topic.publisher == "worker", Write=topic.publisher == "platform")
    yield Right("group", PLATFORM_GROUPS, ("Read",), prefix=True)


def _console(_: GroupOf) -> Iterator[Right]:
    """A platform that also puts dead letters back and replays: so it says whatever a stage reads or says. No groups."""
    for topic in TOPICS.values():
        yield _topic(topic.name, Read=True, Write=_said_by_hand(topic))
        yield _topic(topic.dead_letter, Read=True)


def _operator(group_of: GroupOf) -> Iterator[Right]:
    """Whoever makes the topics, and types the commands of the README."""
    for topic in TOPICS.values():
        yield _topic(topic.name, Read=True, Write=_said_by_hand(topic), Create=True, DescribeConfigs=True)
        yield _topic(topic.dead_letter, Read=True, Create=True, DescribeConfigs=True)
    for name in later.names(STAGES):
        yield _topic(name, Create=True, DescribeConfigs=True)
    # Whether workers run, and the brokers' clock: worker doctor tells.
    for stage in STAGES:
        yield Right("group", group_of(stage.name), ("Describe",))
    yield Right("cluster", CLUSTER, ("Describe",))


def _said_by_hand(topic: Topic) -> bool:
    return topic.publisher == "platform" or topic.name in _READ | _SAID


def _topic(name: str, **wanted: bool) -> Right:
    operations: list[Operation] = [
        operation for operation in ("Read", "Write", "Create", "DescribeConfigs") if wanted.get(operation)
    ]
    implied = not {"Read", "Write"}.isdisjoint(operations)
    return Right("topic", name, tuple(operations if implied else [*operations, "Describe"]))


_ROLES: Mapping[str, Callable[[GroupOf], Iterator[Right]]] = {
    "worker": _worker,
    "trainer": _trainer,
    "platform": _platform,
    "console": _console,
    "operator": _operator,
}
