"""A stage with a receipt beside a bare loop of the same GET, PUT and publish."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from contracts.codec import encode
from contracts.envelope import Event
from handlers.errors import PreconditionFailed
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports.store import ObjectStore
from handlers.table import Stage
from tests.bench.events.records import command
from tests.bench.events.side_by_side import AT_ONCE, publishing_to, seconds_of
from tests.fakes.delivery import FakeRecord
from tests.fakes.events import event
from worker.clock import SystemClock
from worker.delivery.item import take_in
from worker.delivery.lanes import Lanes
from worker.delivery.offsets import PartitionProgress
from worker.delivery.processing import Processor
from worker.delivery.publishing import Publisher
from worker.delivery.receipts import BucketReceipts
from worker.settings import Settings
from worker.storage import open_store
from worker.telemetry import configure_logging

_BODY = {"command_id": "c", "task_id": "t", "command": "stop"}


@asynccontextmanager
async def _store_and_publisher(servers: str) -> AsyncIterator[tuple[ObjectStore, Publisher]]:
    """A bucket in a directory that goes at the end, and a publisher."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(storage_url=Path(folder).as_uri())
        async with open_store(settings) as store, publishing_to(servers) as publisher:
            yield store, publisher


def ours(servers: str, count: int) -> float:
    """Lanes, decoding, receipt look-up, receipt, follow-on. Returns records a second."""
    configure_logging("json", "warning")

    async def run() -> float:
        async with _store_and_publisher(servers) as (store, publisher):
            return await _ours(store, publisher, count)

    return count / asyncio.run(run())


async def _ours(store: ObjectStore, publisher: Publisher, count: int) -> float:
    clock, left, done = SystemClock(), count, asyncio.Event()
    receipts = BucketReceipts(store, clock, {"bench": 0})

    async def handle(cause: Event[Any]) -> Outcome:
        async def work() -> Decision:
            return Decision(name="done", follow_ons=(FollowOn("task.command", cause.key, _BODY),))

        return await receipts.once("bench", cause.key, cause, work)

    stage = Stage("bench", ("task.command",), handle, ())
    process = Processor(stage, handle, publisher, clock)

    async def counted(items: Any) -> float | None:
        nonlocal left
        delay = await process(items)
        left -= delay is None
        if not left:
            done.set()
        return delay

    lanes = Lanes(counted, AT_ONCE)
    lanes.start()
    records = [FakeRecord(offset=n, key=b"t%d" % n, value=command(n, f"t{n}")) for n in range(count)]
    began = time.perf_counter()
    for record in records:
        lanes.put(take_in(record, PartitionProgress()))
    await done.wait()
    seconds = time.perf_counter() - began
    await lanes.close(5)
    return seconds


def bare(servers: str, count: int) -> float:
    """The same requests and nothing else, as many side by side. Returns records a second."""

    async def run() -> float:
        async with _store_and_publisher(servers) as (store, publisher):
            numbers = iter(range(count))
            receipt = b"x" * 700  # as long as ours

            async def lane() -> None:
                for number in numbers:
                    key = f"bare/{number}.json"
                    if await store.get(key) is None:
                        try:
                            await store.put(key, receipt, if_none_match=True)
                        except PreconditionFailed:
                            continue
                    await publisher.send([("task.command", *encode(event("task.command", _BODY)))])

            return await seconds_of(lane)

    return count / asyncio.run(run())
