"""From published to follow-on seen, at a fixed rate: our stage, and a bare loop of the same put and publish."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer

from contracts.codec import encode_body
from contracts.envelope import Event
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports.store import ObjectStore
from handlers.redelivery import IN_ORDER
from handlers.table import Stage
from tests.bench.events.side_by_side import publishing_to
from worker.clock import SystemClock
from worker.delivery.faststream_broker import faststream_broker
from worker.delivery.intake import Intake
from worker.delivery.processing import Processor
from worker.delivery.publishing import Message, Publisher
from worker.delivery.receipts import BucketReceipts
from worker.kafka.broker import Brokers
from worker.settings import Settings
from worker.storage import open_store
from worker.telemetry import configure_logging

_WARM_UP = 300
#: A topic and a group that no other benchmark uses: each turn goes on where the last one ended.
_QUESTIONS, _GROUP = "task.created", "bench-latency"
_ANSWERS = "model.exported"
_BODY = {"model_id": "m"}


def ours(servers: str, count: int, rate: float) -> list[float]:
    """Return [p50, p99] in milliseconds of a stage with a receipt."""
    return _measured(servers, count, rate, _our_stage)


def bare(servers: str, count: int, rate: float) -> list[float]:
    """Return [p50, p99] in milliseconds of a loop that gets, puts and publishes each record, all side by side."""
    return _measured(servers, count, rate, _bare_loop)


def _measured(servers: str, count: int, rate: float, stage: Any) -> list[float]:
    configure_logging("json", "warning")

    folder = Path(tempfile.mkdtemp(prefix="bench-"))

    async def run() -> list[float]:
        async with (
            open_store(Settings(storage_url=folder.as_uri())) as store,
            publishing_to(servers) as publisher,
            _answers(servers) as answers,
            stage(servers, store, publisher),
        ):
            # What others left on the topic is worked off first: so many keys are on every partition, and the answer to
            # the last of them comes after all that was there before.
            await _paced(publisher, answers, _WARM_UP, rate)
            return await _paced(publisher, answers, count, rate)

    return asyncio.run(run())


class Answers:
    """The follow-ons of a run, each with when it came."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def wait(self, prefix: str, count: int) -> dict[str, float]:
        """Return when each of so many keys with a prefix was seen first."""
        arrived: dict[str, float] = {}
        while len(arrived) < count:
            record = await self._consumer.getone()
            key = (record.key or b"").decode()
            if key.startswith(prefix):
                arrived.setdefault(key, time.perf_counter())
        return arrived


async def _paced(publisher: Publisher, answers: Answers, count: int, rate: float) -> list[float]:
    sent: dict[str, float] = {}
    run_id = uuid4().hex
    seen = asyncio.create_task(answers.wait(run_id, count))
    began = time.perf_counter()
    pending = []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        key = f"{run_id}-{number}"
        sent[key] = time.perf_counter()
        record: Message = (_QUESTIONS, key.encode(), encode_body({"task_id": key}), [])
        pending.append(asyncio.create_task(publisher.send([record])))
    await asyncio.gather(*pending)
    arrived = await seen
    # The first half second is connections being made.
    measured = [1000 * (arrived[key] - at) for key, at in list(sent.items())[int(rate / 2) :]]
    if len(measured) < 100:
        return []
    cuts = quantiles(measured, n=100)
    return [cuts[49], cuts[98]]


@asynccontextmanager
async def _answers(servers: str) -> AsyncIterator[Answers]:
    consumer = AIOKafkaConsumer(_ANSWERS, bootstrap_servers=servers, auto_offset_reset="latest")
    await consumer.start()
    await consumer.seek_to_end()
    for place in consumer.assignment():
        await consumer.position(place)  # the seek takes place here, before anything is published
    yield Answers(consumer)
    await consumer.stop()


@asynccontextmanager
async def _our_stage(servers: str, store: ObjectStore, publisher: Publisher) -> AsyncIterator[None]:
    clock = SystemClock()
    receipts = BucketReceipts(store, clock, {"bench": 0})

    async def handle(cause: Event[Any]) -> Outcome:
        async def work() -> Decision:
            return Decision(name="done", follow_ons=(FollowOn(_ANSWERS, cause.key, _BODY),))

        return await receipts.once("bench", cause.key, cause, work)

    stage = Stage("bench", (_QUESTIONS,), handle, (), retry=IN_ORDER)
    settings = Settings(kafka_bootstrap_servers=servers, group_prefix=_GROUP)
    broker = faststream_broker(Brokers(servers))
    intake = Intake(stage, broker, Processor(stage, handle, publisher, clock), clock, settings)
    intake.start()
    await broker.start()
    yield
    await intake.drain()
    await broker.stop()


@asynccontextmanager
async def _bare_loop(servers: str, store: ObjectStore, publisher: Publisher) -> AsyncIterator[None]:
    consumer = AIOKafkaConsumer(_QUESTIONS, bootstrap_servers=servers, group_id=_GROUP, auto_offset_reset="earliest")
    await consumer.start()
    running: set[asyncio.Task[None]] = set()

    async def one(key: str) -> None:
        if await store.get(f"bare/{key}") is None:
            await store.put(f"bare/{key}", b"x" * 700, if_none_match=True)
        await publisher.send([(_ANSWERS, key.encode(), encode_body(_BODY), [("ce_id", key.encode())])])

    async def loop() -> None:
        async for record in consumer:
            task = asyncio.create_task(one((record.key or b"").decode()))
            running.add(task)
            task.add_done_callback(running.discard)

    looping = asyncio.create_task(loop())
    yield
    looping.cancel()
    await asyncio.gather(looping, *running, return_exceptions=True)
    await consumer.stop()
