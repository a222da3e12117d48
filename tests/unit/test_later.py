"""Delay topics: what outlives a lane's patience waits elsewhere, and is the same event when it comes back."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.envelope import Event
from handlers.errors import Transient, Unavailable
from handlers.outcome import Outcome
from handlers.redelivery import Retry
from handlers.table import STAGES, Stage
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher, FakeRecord, command_record, items_of
from worker.delivery.dead_letters import dead_letter, reason_of
from worker.delivery.item import Item, take_in
from worker.delivery.later import delay_topics, due_at, names, postponed
from worker.delivery.offsets import PartitionProgress
from worker.delivery.processing import Processor

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def _broken(_: Event[Any]) -> Outcome:
    raise Transient("the upstream is busy")


STAGE = Stage("tested", ("task.command",), _broken, (), retry=Retry(transient_tries=2, first_delay=0, later=(60, 600)))


def _come_back(message: Any, *, partition: int = 1, offset: int = 5) -> Item:
    """Read a message of a delay topic as the broker would hand it over."""
    topic, key, body, headers = message
    record = FakeRecord(topic=topic, partition=partition, offset=offset, key=key, value=body, headers=headers)
    return take_in(record, PartitionProgress())


async def _until_finished(process: Processor, item: Item) -> None:
    for _ in range(10):
        if await process([item]) is None:
            return
    raise AssertionError("still not finished")


async def test_a_transient_fault_goes_from_lane_to_delay_topics_to_one_dead_letter() -> None:
    publisher = FakePublisher()
    process = Processor(STAGE, _broken, publisher, ManualClock())
    record = command_record(7, partition=3)
    record.headers = [("x-team", b"blue")]
    (first,) = items_of([record])
    items = [first]
    for expected in ("tested.later-60s", "tested.later-600s", "task.command.dead-letter"):
        item = items[-1]
        await _until_finished(process, item)
        assert item.finished
        message = publisher.messages.pop()
        assert message[0] == expected
        assert (message[1], message[2]) == (record.key, record.value)
        items.append(_come_back(message))
    said = reason_of(message[3])
    assert (said["topic"], said["partition"], said["offset"], said["attempts"]) == ("task.command", "3", "7", "6")
    assert said["id"] == reason_of(dead_letter(first, stage=STAGE, reason="r", text="t", now=NOW)[3])["id"]
    assert [name for name, _ in message[3] if not name.startswith("dl_")] == ["x-team"]


async def test_what_comes_back_is_the_same_event() -> None:
    (item,) = items_of([command_record(7)])
    back = _come_back(postponed(item, STAGE, "why"))
    assert item.event is not None
    assert back.event == item.event
    assert back.event.topic == "task.command"
    assert back.lane == ("tested.later-60s", 1, "task-1")


async def test_it_stays_in_its_lane_while_the_delay_topic_does_not_take_it() -> None:
    publisher = FakePublisher()
    process = Processor(STAGE, _broken, publisher, ManualClock())
    (item,) = items_of([command_record(7)])
    await process([item])
    publisher.failures = [Unavailable("no broker")]
    assert await process([item]) == STAGE.retry.longest_delay
    assert not item.finished
    await _until_finished(process, item)
    assert [message[0] for message in publisher.messages] == ["tested.later-60s"]


def test_it_is_due_after_its_delay_whatever_the_clock_of_its_writer() -> None:
    (item,) = items_of([FakeRecord(timestamp=int(NOW.timestamp() * 1000))])
    assert due_at(item, 60, NOW + timedelta(seconds=59)) == NOW + timedelta(seconds=60)
    assert due_at(item, 60, NOW - timedelta(days=1)) == NOW - timedelta(days=1) + timedelta(seconds=60)


def test_a_foreign_record_in_a_delay_topic_is_dead_lettered_with_its_stage() -> None:
    for headers in ([], [("later_topic", b"task.command")], [("later_topic", None)]):
        item = take_in(
            FakeRecord(topic="tested.later-60s", offset=1, value=b"{}", headers=headers), PartitionProgress()
        )
        assert item.poison is not None
        assert dead_letter(item, stage=STAGE, reason="r", text="t", now=NOW)[0] == "task.command.dead-letter"


def test_stages_whose_order_matters_have_no_delay_topic() -> None:
    with_delays = {stage.name for stage in STAGES if delay_topics(stage)}
    assert with_delays == {
        "dataset-validation",
        "cost-estimation",
        "exact-estimation",
        "training-dispatch",
        "model-export",
    }
    assert len(names(STAGES)) == len(set(names(STAGES))) == 15
