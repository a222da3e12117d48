"""Events out of a trainer: whoever trains never waits, and what Kafka does not take the bucket does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts import event_file
from contracts.task import Progress
from contracts.training import Checkpoint, Failure, TrainingProgress
from handlers import layout
from handlers.errors import Unavailable
from handlers.ports.jobs import JobSpec
from handlers.ports.store import ObjectStore
from tests.fakes.sink import KeptEvents
from tests.fakes.store import MemoryStore
from tests.wait import wait_until
from worker.kafka.broker import Brokers
from worker.settings import Settings, SettingsError
from worker.trainer import outbox_sender
from worker.trainer.event_buffer import LIMIT, EventBuffer
from worker.trainer.event_sink import EventSink
from worker.trainer.kafka_sender import KafkaSender
from worker.trainer.outbox_sender import OutboxSender
from worker.trainer.progress import ProgressSink, Reporter

SPEC = JobSpec(job_id="t-1", task_id="t-1", attempt=2, plan_key="p", attempt_prefix=layout.attempt("t-1", 2))
SETTINGS = Settings(heartbeat_seconds=0.05)


def reporter(sink: ProgressSink) -> Reporter:
    return Reporter(SPEC, sink, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: None)


def progress(step: int) -> Progress:
    return Progress(step=step, total_steps=9_999)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step=step, uri=f"memory://bucket/{step}")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The bucket that outboxes are in."""
    store = MemoryStore()

    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[ObjectStore]:
        yield store

    monkeypatch.setattr(outbox_sender, "open_store", opened)
    return store


@pytest.fixture
async def silent_broker() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A broker that lets everybody in and never says a word; with whom it let in."""
    guests: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: guests.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}", guests
    finally:
        server.close()
        for guest in guests:
            guest.close()


def batches(store: MemoryStore) -> list[list[TrainingProgress]]:
    """Return what is in the outbox, object by object."""
    keys = sorted(key for key in store.objects if key.startswith(layout.outbox("t-1", 2)))
    return [[event.data for event in event_file.read(store.objects[key])] for key in keys]


def seqs(store: MemoryStore) -> list[int]:
    return [said.seq for batch in batches(store) for said in batch]


# --- what is said --------------------------------------------------------------------------------------------


def test_each_change_of_phase_is_essential_and_so_is_each_checkpoint() -> None:
    sink = KeptEvents()
    said = reporter(sink)
    said.deploying()
    said.running(progress(1))
    said.running(progress(2))
    said.saved(progress(2), checkpoint(2))
    said.running(progress(3))
    assert said.last_word is None
    said.succeeded(progress(3), ())
    assert sink.essential == [True, True, False, True, False, True]
    assert said.last_word is sink.events[-1]


def test_who_fails_says_where_it_could_go_on() -> None:
    sink = KeptEvents()
    said = reporter(sink)
    for step in (2, 4):
        said.saved(progress(step), checkpoint(step))
    said.failed(Failure("gpu-fault", "platform", "it fell off the bus"))
    assert said.last_word
    assert said.last_word.data.checkpoint == checkpoint(4)


# --- who speaks never waits ----------------------------------------------------------------------------------


class BlockedSender:
    """Takes hold of the thread that sends and does not let go."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.holds, self.release = threading.Event(), threading.Event()

    async def run(self, buffer: EventBuffer) -> None:
        self.holds.set()
        self.release.wait()


def test_a_step_goes_on_while_the_thread_that_sends_is_blocked() -> None:
    """Were ``put`` to wait for anything of that thread, this test would not end."""
    blocked = BlockedSender()
    buffer = EventBuffer()
    with EventSink(blocked, buffer=buffer) as sink:
        blocked.holds.wait()
        said = reporter(sink)
        for step in range(5 * LIMIT):
            said.running(progress(step))
            if step % 500 == 0:
                said.saved(progress(step), checkpoint(step))
        waiting = [event.data for event in buffer.oldest()]
        assert not blocked.release.is_set(), "all of it was said while nothing could leave"
        blocked.release.set()
    assert len(waiting) <= LIMIT
    assert [each.checkpoint.step for each in waiting if each.checkpoint] == list(range(0, 5 * LIMIT, 500))
    assert waiting[-1].progress == progress(5 * LIMIT - 1)


async def test_what_a_silent_broker_does_not_take_goes_to_the_bucket(
    bucket: MemoryStore, silent_broker: tuple[str, list[asyncio.StreamWriter]]
) -> None:
    address, guests = silent_broker
    kafka, fallback = KafkaSender(Brokers(address)), OutboxSender(SETTINGS, SPEC, patience_seconds=0.1)
    with EventSink(kafka, fallback) as sink:
        await wait_until(lambda: guests, what="the sender to be in the hands of the broker")
        said = reporter(sink)
        said.deploying()
        for step in range(20):
            said.running(progress(step))
        said.succeeded(progress(20), ())
        await wait_until(lambda: seqs(bucket) == list(range(22)), what="everything in the outbox")
        assert await asyncio.to_thread(sink.close, 10), "what is in the outbox is as good as said"
    assert len(batches(bucket)) <= 3, "few objects, not one an event"


async def test_at_the_end_the_bucket_gets_what_kafka_does_not_take_in_time(bucket: MemoryStore) -> None:
    with EventSink(KafkaSender(Brokers("127.0.0.1:9")), OutboxSender(SETTINGS, SPEC, patience_seconds=3600)) as sink:
        reporter(sink).failed(Failure("r", "user", "m"))
        sink.close(0)  # nothing is worth waiting for any more
        assert await asyncio.to_thread(sink.close, 8)
    assert [[said.state for said in batch] for batch in batches(bucket)] == [["failed"]]


# --- the bucket instead of Kafka -----------------------------------------------------------------------------


async def test_without_kafka_every_event_is_in_the_outbox_and_mere_progress_has_company(bucket: MemoryStore) -> None:
    settings = replace(
        SETTINGS,
        trainer_events="bucket",
        heartbeat_seconds=0.5,
        # What it would need for Kafka is not on this machine, and is not missed.
        kafka_security_protocol="sasl_ssl",
        kafka_ca_file=Path("/nowhere/ca.pem"),
    )
    with EventSink.of(settings, SPEC) as sink:
        said = reporter(sink)
        said.deploying()
        await wait_until(lambda: seqs(bucket) == [0], what="the phase, at once")
        said.running(progress(1))
        await wait_until(lambda: seqs(bucket) == [0, 1], what="the next phase, at once")
        for step in range(2, 30):
            said.running(progress(step))
        await wait_until(lambda: len(seqs(bucket)) == 30, what="a heartbeat")
        assert len(batches(bucket)) <= 4
        said.succeeded(progress(30), ())
        assert await asyncio.to_thread(sink.close, 10)
    assert seqs(bucket) == list(range(31))
    assert len({event.id for body in bucket.objects.values() for event in event_file.read(body)}) == 31


def test_with_kafka_what_it_needs_must_be_there() -> None:
    with pytest.raises(SettingsError):
        EventSink.of(replace(SETTINGS, kafka_security_protocol="sasl_ssl"), SPEC)


async def test_a_bucket_that_fails_or_loses_its_answer_costs_no_event(bucket: MemoryStore) -> None:
    async def lost(_key: str, _body: bytes) -> None:
        bucket.after_put = None
        raise Unavailable("the answer is lost")

    bucket.after_put = lost
    with EventSink(OutboxSender(SETTINGS, SPEC, 0.05, essential_at_once=True)) as sink:
        said = reporter(sink)
        said.deploying()
        await wait_until(lambda: bucket.after_put is None, what="the put whose answer is lost")
        bucket.available = False
        said.running(progress(1))
        bucket.available = True
        assert await asyncio.to_thread(sink.close, 10)
    assert set(seqs(bucket)) == {0, 1}


async def test_what_is_said_while_an_object_is_put_goes_into_the_next(bucket: MemoryStore) -> None:
    with EventSink(OutboxSender(SETTINGS, SPEC, 0.05, essential_at_once=True)) as sink:
        said = reporter(sink)

        async def speak(_key: str, _body: bytes) -> None:
            bucket.before_put = None
            said.running(progress(1))

        bucket.before_put = speak
        said.deploying()
        await wait_until(lambda: seqs(bucket) == [0, 1], what="both")
    assert len(batches(bucket)) == 2


async def test_an_object_whose_events_a_worker_may_be_taking_out_is_not_replaced(bucket: MemoryStore) -> None:
    """A worker that read an object deletes it: what were put under its name meanwhile would be gone unread."""
    contents: dict[str, set[bytes]] = {}

    async def seen(key: str, body: bytes) -> None:
        contents.setdefault(key, set()).add(body)
        if len(contents) == 1:
            raise Unavailable("the answer is lost")

    bucket.after_put = seen
    with EventSink(OutboxSender(SETTINGS, SPEC, 0.05, essential_at_once=True)) as sink:
        said = reporter(sink)
        said.deploying()
        await wait_until(lambda: contents, what="the first try")
        said.running(progress(1))
        assert await asyncio.to_thread(sink.close, 10)
    assert all(len(bodies) == 1 for bodies in contents.values())


async def test_who_is_superseded_says_nothing_more(bucket: MemoryStore) -> None:
    with EventSink(OutboxSender(SETTINGS, SPEC, 3600)) as sink:
        reporter(sink).running(progress(1))
        sink.drop()
        assert sink.close(0)
    assert bucket.objects == {}
