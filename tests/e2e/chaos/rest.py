"""When a round has come to rest: nothing is on its way, nothing runs, nothing is left unread."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from handlers.table import STAGES
from tests.e2e.chaos.evidence import Evidence
from tests.e2e.chaos.jobs import running
from tests.e2e.chaos.processes import processes_of
from tests.e2e.chaos.story import Story
from tests.wait import wait_until
from worker.delivery.later import delay_topics
from worker.kafka.broker import Brokers, connected
from worker.settings import Settings

#: How long what workers left behind may take to see that they are gone.
_LEFT_BEHIND_SECONDS = 15.0


async def settled(evidence: Evidence, settings: Settings) -> list[str]:
    """Wait until nothing moves any more; return what does not come to rest. ``settings`` name the consumer groups."""

    async def rested() -> bool:
        states = await evidence.states()
        return (
            len(states) == len(evidence.story.tasks)
            and all(state.phase.terminal for state in states.values())
            and not await evidence.keys("active/")
            and not await evidence.keys("outbox/")
            and not running(settings.work_dir)
            and await _lag(settings) == 0
            and await evidence.platform.caught_up()
        )

    try:
        await wait_until(rested, evidence.kind.settling_seconds, "everything to come to rest")
    except AssertionError:
        states = await evidence.states()
        moving = {task_id: f"{state.phase.value}/{state.attempt}" for task_id, state in states.items()}
        return [f"not at rest after {evidence.kind.settling_seconds} s: lag {await _lag(settings)}, {moving}"]
    return []


async def orphans(settings: Settings) -> list[str]:
    """Return the processes that outlive their workers, a while after the last of these has ended."""
    try:
        await wait_until(lambda: not processes_of(settings), _LEFT_BEHIND_SECONDS, "the workers' processes to end")
    except AssertionError:
        return [f"process {pid} still runs: {command}" for pid, command in processes_of(settings).items()]
    return []


async def _lag(settings: Settings) -> int:
    """Return the records that the stages' groups have not committed yet: those that wait for a delay are among them."""
    brokers = Brokers.of(settings)
    total = 0
    async with connected(AIOKafkaAdminClient, brokers) as admin, connected(AIOKafkaConsumer, brokers) as consumer:
        for stage in STAGES:
            committed = await admin.list_consumer_group_offsets(settings.group_of(stage.name))
            places = await _partitions(admin, (*stage.topics, *delay_topics(stage)))
            ends = await consumer.end_offsets(places)
            total += sum(end - (committed[tp].offset if tp in committed else 0) for tp, end in ends.items())
    return total


async def planted(brokers: Brokers, told: Story) -> set[tuple[str, int, int]]:
    """Return where the poison lies: the topics are read once more, for what was planted."""
    wanted = {(record.topic, record.key) for record in told.records if record.poison}
    topics = tuple({topic for topic, _ in wanted})
    found = set()
    async with (
        connected(AIOKafkaAdminClient, brokers) as admin,
        connected(AIOKafkaConsumer, brokers, auto_offset_reset="earliest") as consumer,
    ):
        places = await _partitions(admin, topics)
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found |= {
                    (record.topic, record.partition, record.offset)
                    for record in batch
                    if (record.topic, record.key) in wanted
                }
    return found


async def _partitions(admin: AIOKafkaAdminClient, topics: tuple[str, ...]) -> list[TopicPartition]:
    described = await admin.describe_topics(list(topics))
    return [TopicPartition(topic["topic"], place["partition"]) for topic in described for place in topic["partitions"]]
