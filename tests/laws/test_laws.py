"""What holds for every handler, whatever it does. It is enough to be in the table to be held to it."""

from typing import Any

import msgspec
import pytest

from contracts.codec import encode_body
from contracts.topics import TOPICS
from handlers.table import STAGES, Stage
from tests.fakes.delivery import FakePublisher, FakeRecord, items_of
from tests.fakes.world import World, bodies, ids, received
from tests.laws.scenarios import every_case, inbound, world_for
from worker.delivery.dead_letters import reason_of
from worker.delivery.offsets import PartitionProgress
from worker.delivery.processing import Processor

every_stage = pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
every_read_topic = pytest.mark.parametrize(
    ("stage", "topic"),
    [pytest.param(stage, topic, id=f"{stage.name}:{topic}") for stage in STAGES for topic in stage.topics],
)


def _says(stage: str) -> set[str]:
    return set(next(found for found in STAGES if found.name == stage).says)


@every_case
async def test_a_duplicate_delivery_says_the_same_events(stage: str, topic: str, body: bytes) -> None:
    event = inbound(topic, body)
    world = await world_for(event)
    first = await world.deliver(stage, event)
    stored = dict(world.store.objects)
    await world.clock.advance(86_400)
    for _ in range(2):
        again = await world.deliver(stage, event)
        assert ids(again.events) == ids(first.events)
        assert bodies(again.events) == bodies(first.events)
    assert world.store.objects == stored, "a duplicate changes nothing"


@every_case
async def test_another_worker_years_later_says_the_same_events(stage: str, topic: str, body: bytes) -> None:
    event = inbound(topic, body)
    world = await world_for(event)
    first = await world.deliver(stage, event)
    other = World(world.store)
    await other.clock.advance(3 * 365 * 86_400)
    again = await other.deliver(stage, event)
    assert (ids(again.events), bodies(again.events)) == (ids(first.events), bodies(first.events))


@every_case
async def test_what_follows_carries_the_correlation_and_its_cause_and_is_what_the_table_says(
    stage: str, topic: str, body: bytes
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = inbound(topic, body, id="the-cause", correlationid="a-story")
    event = msgspec.structs.replace(event, traceparent=trace)
    world = await world_for(event)
    outcome = await world.deliver(stage, event)
    for said in outcome.events:
        assert (said.correlation_id, said.causation_id, said.traceparent) == ("a-story", "the-cause", trace)
        assert said.topic in _says(stage)
        assert said.type == said.topic
        # It is recorded under the name in its source, which may be that of another stage with the same topic.
        assert said.topic in _says(said.source.rpartition("/")[2])
        assert received(said).key == said.key, "it is what its own contract says, key included"
    assert len(set(ids(outcome.events))) == len(outcome.events)


@every_case
async def test_an_unknown_field_is_tolerated(stage: str, topic: str, body: bytes) -> None:
    event = inbound(topic, body)
    wider = inbound(topic, encode_body(msgspec.json.decode(body) | {"from_a_later_version": {"nested": [1, "二"]}}))
    outcomes = [await (await world_for(each)).deliver(stage, each) for each in (event, wider)]
    assert outcomes[0].name == outcomes[1].name
    assert [said.topic for said in outcomes[0].events] == [said.topic for said in outcomes[1].events]


@every_stage
async def test_every_stage_has_examples_that_make_it_speak(stage: Stage) -> None:
    spoken = set[str]()
    for case in every_case.args[1]:
        name, topic, body = case.values
        if name == stage.name:
            event = inbound(topic, body)
            spoken |= {said.topic for said in (await (await world_for(event)).deliver(name, event)).events}
    assert spoken, "laws about what is said would hold of silence"


POISON = {
    "nothing": (None, []),
    "no JSON": (b"\x00\x01", []),
    "no object": (b"[]", []),
    "no UTF-8": (b'{"task_id": "\xff"}', []),
    "no key field": (b"{}", []),
    "another type": (b'{"task_id": 1, "dataset_id": 1}', []),
    "too deep": (b'{"a":' * 100_000, []),
    "a header that is no UTF-8": (b"{}", [("ce_id", b"\xff")]),
    "a header that is null": (b"{}", [("ce_id", None)]),
}


@every_read_topic
@pytest.mark.parametrize(("body", "headers"), POISON.values(), ids=POISON)
async def test_poison_becomes_a_dead_letter_and_reaches_no_handler(
    stage: Stage, topic: str, body: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    async def never(event: Any) -> Any:
        raise AssertionError(f"poison reached the handler: {event}")

    publisher, progress = FakePublisher(), PartitionProgress()
    process = Processor(stage, never, publisher, World().clock)
    items = items_of([FakeRecord(topic=topic, offset=7, key=b"k", value=body, headers=headers)], progress)
    assert await process(items) is None
    ((letter_topic, key, value, sent),) = publisher.messages
    assert (letter_topic, key, value) == (TOPICS[topic].dead_letter, b"k", body)
    said = reason_of(sent)
    assert (said["stage"], said["topic"], said["offset"]) == (stage.name, topic, "7")
    assert said["reason"]
    assert said["text"]
    assert progress.position == 8
