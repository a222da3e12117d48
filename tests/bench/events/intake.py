"""Taking records in: ours, the raw client's, FastStream's. Each returns records a second, from first to last commit."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from contracts.envelope import Event
from contracts.task import Phase
from handlers import layout
from handlers.outcome import Outcome
from handlers.table import STAGES, Stage
from handlers.task_state import TaskState
from handlers.training_progress import keep_progress
from tests.bench.events.records import Stopwatch
from tests.bench.events.side_by_side import publishing_to
from tests.fakes.store import MemoryStore
from worker.clock import SystemClock
from worker.collector import spare_records
from worker.delivery.faststream_broker import faststream_broker
from worker.delivery.intake import Intake
from worker.delivery.processing import Processor
from worker.kafka.broker import Brokers
from worker.settings import Settings
from worker.telemetry import configure_logging


def ours(servers: str, count: int, log_level: str = "warning") -> float:
    """Lanes, typed decoding, contiguous commits; the handler does nothing."""
    configure_logging("json", log_level)

    async def run() -> float:
        watch = Stopwatch(count)

        async def handle(_: Event[Any]) -> Outcome:
            watch.saw()
            return Outcome(name="done")

        stage = Stage("bench", ("task.command",), handle, ())
        return await _take_in(servers, stage, handle, watch)

    return count / asyncio.run(run())


def progress(servers: str, count: int, tasks: int) -> float:
    """``training.progress`` through the real stage, folded, over a bucket in memory."""
    configure_logging("json", "warning")

    async def run() -> float:
        watch, store, clock = Stopwatch(count), MemoryStore(), SystemClock()
        for number in range(tasks):
            state = TaskState(task_id=f"t{number}", phase=Phase.RUNNING, attempt=1)
            await store.put(layout.task(state.task_id, "state"), msgspec.json.encode(state))

        async def handle(events: list[Event[Any]]) -> Outcome:
            outcome = await keep_progress(events, store=store, clock=clock)
            watch.saw(len(events))
            return outcome

        stage = next(stage for stage in STAGES if stage.name == "training-progress")
        return await _take_in(servers, stage, handle, watch)

    return count / asyncio.run(run())


async def _take_in(servers: str, stage: Stage, handle: Any, watch: Stopwatch) -> float:
    spare_records()
    # No rests: what is measured is how fast work is done, not how little of it.
    settings = Settings(kafka_bootstrap_servers=servers, group_prefix=f"bench-{uuid4().hex}", progress_seconds=0)
    stage = stage._replace(retry=stage.retry._replace(later=()))
    async with publishing_to(servers) as publisher:
        broker = faststream_broker(Brokers(servers))
        intake = Intake(stage, broker, Processor(stage, handle, publisher, SystemClock()), SystemClock(), settings)
        intake.start()
        await broker.start()
        await watch.done.wait()
        await intake.drain()
        seconds = watch.stop()
        await broker.stop()
    return seconds


def raw(servers: str, count: int) -> float:
    """The client's getmany, and a commit a batch; nothing is decoded."""

    async def run() -> float:
        watch = Stopwatch(count)
        consumer = AIOKafkaConsumer(
            "task.command", bootstrap_servers=servers, group_id=f"bench-{uuid4().hex}", enable_auto_commit=False,
            auto_offset_reset="earliest",
        )  # fmt: skip
        await consumer.start()
        while not watch.done.is_set():
            batches = await consumer.getmany(timeout_ms=200, max_records=1000)
            for records in batches.values():
                for _ in records:
                    watch.saw()
            if batches:
                await consumer.commit()
        seconds = watch.stop()
        await consumer.stop()
        return seconds

    return count / asyncio.run(run())


def faststream_ack(servers: str, count: int) -> float:
    """FastStream as its documentation begins: a message at a time, acknowledged when the handler is done."""
    return _faststream(servers, count, batch=False)


def faststream_batch(servers: str, count: int) -> float:
    """FastStream's batches, acknowledged when the handler is done."""
    return _faststream(servers, count, batch=True)


def _faststream(servers: str, count: int, *, batch: bool) -> float:
    async def run() -> float:
        watch = Stopwatch(count)
        broker = KafkaBroker(servers, logger=None)
        more: dict[str, Any] = {"batch": True, "max_records": 1000} if batch else {}
        subscriber = broker.subscriber(
            "task.command", group_id=f"bench-{uuid4().hex}", auto_offset_reset="earliest", ack_policy=AckPolicy.ACK,
            **more,
        )  # fmt: skip

        async def one(_: dict[str, Any]) -> None:
            watch.saw()

        async def many(messages: list[dict[str, Any]]) -> None:
            watch.saw(len(messages))

        subscriber(many if batch else one)
        await broker.start()
        await watch.done.wait()
        seconds = watch.stop()
        await broker.stop()
        return seconds

    return count / asyncio.run(run())
