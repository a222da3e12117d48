"""Progress out of the trainer: the sequence of events, over a real broker. More is in tests/unit/test_event_sink.py."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.codec import decode
from contracts.envelope import Event
from contracts.task import Progress
from contracts.training import Checkpoint, Failure, TrainingProgress
from handlers.ports.jobs import JobSpec
from tests.trainer.bench import RecordingSink
from worker.kafka.broker import Brokers
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.trainer import kafka_sender
from worker.trainer.event_sink import EventSink
from worker.trainer.fence import Superseded
from worker.trainer.kafka_sender import KafkaSender
from worker.trainer.progress import ProgressSink, Reporter

pytestmark = pytest.mark.trainer

SPEC = JobSpec(
    job_id="job", task_id="task", attempt=3, plan_key="p", attempt_prefix="a/", first_seq=5, project="research"
)
#: Nobody listens there.
NOWHERE = "127.0.0.1:9"


def reporter(sink: ProgressSink) -> Reporter:
    return Reporter(SPEC, sink, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: None)


def progress(step: int) -> Progress:
    return Progress(step=step, total_steps=9, loss=1.0)


def steps(events: list[Event[TrainingProgress]]) -> list[int]:
    return [event.data.progress.step for event in events if event.data.progress]


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[str]:
    async with EmbeddedBroker(tmp_path / "broker.log") as servers:
        await ensure_topics(Brokers(servers))
        yield servers


def test_what_is_essential_is_marked_and_numbers_rise() -> None:
    sink = RecordingSink()
    said = reporter(sink)

    said.deploying()
    said.running(progress(1))
    said.saved(progress(1), Checkpoint(step=1, uri="u"))
    said.failed(Failure("r", "user", "m"))
    said.stopped(None)
    said.succeeded(progress(2), ())

    assert [event.data.seq for event in sink.events] == [5, 6, 7, 8, 9, 10]
    assert sink.essential == [True, True, True, True, True, True]
    assert len({event.id for event in sink.events}) == 6
    assert {event.correlation_id for event in sink.events} == {"task"}
    assert {event.data.project for event in sink.events} == {"research"}


def test_who_may_not_speak_says_nothing() -> None:
    def refuse() -> None:
        raise Superseded

    sink = RecordingSink()
    said = Reporter(SPEC, sink, lambda: datetime.now(UTC), refuse)

    with pytest.raises(Superseded):
        said.failed(Failure("r", "user", "m"))
    assert sink.events == []


async def test_events_reach_the_broker_in_order_and_can_be_decoded(broker: str) -> None:
    with EventSink(KafkaSender(Brokers(broker))) as sink:
        said = reporter(sink)
        for step in range(20):
            said.running(progress(step))
        said.succeeded(progress(20), ())
        assert sink.close(10)

    consumer = AIOKafkaConsumer("training.progress", bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    try:
        events: list[Event[TrainingProgress]] = []
        while not events or events[-1].data.state != "succeeded":
            record = await consumer.getone()
            events.append(decode(record.topic, record.key, record.value, record.headers, record.timestamp))
    finally:
        await consumer.stop()
    assert steps(events) == list(range(21))
    assert {event.key for event in events} == {"task"}
    assert [event.data.seq for event in events] == list(range(5, 26))


async def test_events_wait_for_a_broker_that_is_not_there_yet(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def producer(*, bootstrap_servers: str, **settings: Any) -> AIOKafkaProducer:
        made.append(bootstrap_servers)
        return AIOKafkaProducer(bootstrap_servers=NOWHERE if len(made) == 1 else bootstrap_servers, **settings)

    monkeypatch.setattr(kafka_sender, "AIOKafkaProducer", producer)
    with EventSink(KafkaSender(Brokers(broker))) as sink:
        reporter(sink).running(progress(1))

        assert sink.close(15)
    assert len(made) == 2
