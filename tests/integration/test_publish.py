"""Publishing by hand, on the embedded broker."""

import json
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.codec import decode
from contracts.topics import TOPICS
from tests.examples import example
from worker.kafka.broker import Brokers, connected
from worker.kafka.embedded import EmbeddedBroker
from worker.publish import BrokerUnavailable, NotPublishable, PublishedEvent, publish_event, publish_file
from worker.settings import Settings

COMMAND = example("task.command", "minimal")
FORM = example("task.created", "chinese-name").strip()


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    async with EmbeddedBroker() as servers:
        yield Settings(kafka_bootstrap_servers=servers)


async def _record(settings: Settings, published: PublishedEvent) -> ConsumerRecord:
    """Return the record an event was published as."""
    async with connected(AIOKafkaConsumer, Brokers.of(settings)) as consumer:
        place = TopicPartition(published.topic, published.partition)
        consumer.assign([place])
        consumer.seek(place, published.offset)
        return await consumer.getone()


async def _records(settings: Settings, topic: str) -> int:
    """Return how many records a topic has."""
    async with connected(AIOKafkaConsumer, Brokers.of(settings)) as consumer:
        places = [TopicPartition(topic, number) for number in range(TOPICS[topic].partitions)]
        return sum((await consumer.end_offsets(places)).values())


async def test_an_event_arrives_as_it_was_written(settings: Settings) -> None:
    published = await publish_event(settings, "task.created", FORM, source="/console", headers=[("x-user", "李白")])

    record = await _record(settings, published)
    event = decode(record.topic, record.key, record.value, record.headers, record.timestamp)
    assert record.value == FORM
    assert (record.key, event.key, published.key) == (b"task-42", "task-42", "task-42")
    assert (event.id, event.source, event.type) == (published.id, "/console", "task.created")
    assert ("x-user", "李白".encode()) in record.headers


async def test_the_same_event_again_keeps_its_id_and_its_partition(settings: Settings) -> None:
    first = await publish_event(settings, "task.created", FORM)
    again = await publish_event(settings, "task.created", FORM)
    other = await publish_event(settings, "task.created", FORM, event_id="event-7")

    assert again == first._replace(offset=first.offset + 1)
    assert other == first._replace(offset=first.offset + 2, id="event-7")


async def test_keys_go_where_javas_partitioner_sends_them(settings: Settings) -> None:
    # From Kafka's own tests of murmur2 over 12 partitions: (murmur2(key) & 0x7fffffff) % 12.
    form = json.loads(FORM)
    partitions = {}
    for key in ("21", "foobar", "a-little-bit-long-string"):
        body = json.dumps(form | {"task_id": key}).encode()
        partitions[key] = (await publish_event(settings, "task.created", body)).partition
    hashes = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}
    assert partitions == {key: (number & 0x7FFFFFFF) % 12 for key, number in hashes.items()}


async def test_the_topic_is_created_with_its_partitions(settings: Settings) -> None:
    await publish_event(settings, "task.command", COMMAND)

    async with connected(AIOKafkaAdminClient, Brokers.of(settings)) as admin:
        assert set(await admin.list_topics()) == {"task.command", "task.command.dead-letter"}
        (description,) = await admin.describe_topics(["task.command"])
    assert len(description["partitions"]) == TOPICS["task.command"].partitions


async def test_a_file_of_several_events_is_published_in_order(settings: Settings) -> None:
    names = ("every-field", "minimal", "export", "delete", "resume")
    content = b"\n".join(example("task.command", name) for name in names)

    published = await publish_file(settings, "task.command", content)

    records = [await _record(settings, event) for event in published]
    assert [json.loads(record.value) for record in records] == [
        json.loads(example("task.command", name)) for name in names
    ]
    assert len({event.id for event in published}) == len(names)
    assert [event.offset for event in published] == sorted(event.offset for event in published)


async def test_one_faulty_event_keeps_the_whole_file_back(settings: Settings) -> None:
    await publish_event(settings, "task.command", COMMAND)
    content = COMMAND + b'{"task_id":"t"}\n' + b'{"task_id":"t","command_id":"a b"}'
    with pytest.raises(NotPublishable) as error:
        await publish_file(settings, "task.command", content)
    assert [line.rpartition(":")[0] for line in str(error.value).splitlines()] == [
        "event 2: command_id",
        "event 2: command",
        "event 3: command_id",
        "event 3: command",
    ]
    assert await _records(settings, "task.command") == 1


async def test_a_forced_form_is_published_with_its_faults(settings: Settings) -> None:
    faulty = json.dumps(json.loads(FORM) | {"output_count": 11}).encode()
    with pytest.raises(NotPublishable, match="output_count: must be at least 1 and at most 10, but is 11"):
        await publish_event(settings, "task.created", faulty)
    published = await publish_event(settings, "task.created", faulty, force=True)
    assert (await _record(settings, published)).value == faulty


@pytest.mark.parametrize(
    ("content", "event_id", "headers", "text"),
    [
        (FORM + FORM, "one-id", [], "an id names one event, and there are 2; leave it out"),
        (FORM, None, [("ce_id", "x")], "header ce_id: headers that begin with ce_ are set here"),
        (b'{"a":"' + b"x" * 1_000_000 + b'"}', None, [], "is 1,000,008 bytes; at most 1,000,000 fit into a record"),
    ],
)
async def test_what_cannot_be_published_is_refused_before_anything_is_sent(
    content: bytes, event_id: str | None, headers: list[tuple[str, str]], text: str
) -> None:
    nowhere = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(NotPublishable, match=text):
        await publish_file(nowhere, "task.created", content, event_id=event_id, headers=headers)


async def test_one_event_means_one() -> None:
    nowhere = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(NotPublishable, match="one event was expected, there are 2"):
        await publish_event(nowhere, "task.created", FORM + FORM)


async def test_no_broker_is_said_in_one_line() -> None:
    nowhere = Settings(kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokerUnavailable, match=r"^no Kafka broker answers at 127\.0\.0\.1:1; [^\n]+$"):
        await publish_event(nowhere, "task.created", FORM)
