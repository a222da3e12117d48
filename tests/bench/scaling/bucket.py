"""What the bucket costs a worker's core, on a real S3 server: each function is one run of a fresh process.

Each returns how many were done; the harness says the processor seconds. The server is a process of its own, and is in
nobody's figure.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import msgspec

from contracts.task import Phase
from handlers import layout
from handlers.ports.jobs import JobStatus
from handlers.ports.store import ObjectStore
from handlers.table import STAGES
from handlers.task_state import TaskState
from handlers.tenancy.projects import Projects
from handlers.training_progress import keep_progress
from tests.fakes.delivery import FakePublisher, items_of, progress_record
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from worker.clock import SystemClock
from worker.delivery.lanes import Lanes
from worker.delivery.processing import Processor
from worker.settings import Settings
from worker.storage import (
    open_store,
    s3,  # noqa: F401 - imported before anything is measured: a process does it once
)
from worker.sweeps.reconciler import Reconciler
from worker.telemetry import configure_logging

#: As large as a task's state or a receipt.
_BODY = b"x" * 700
BUCKET = "bench"


def fill(count: int) -> int:
    """Put what ``listed`` lists."""

    async def one(store: ObjectStore, number: int) -> None:
        await store.put(f"listed/{number}", b"")

    return _over_s3(lambda store: _side_by_side(store, count, one), count)


def reads(count: int) -> int:
    """GET, as many at a time as a stage runs."""

    async def one(store: ObjectStore, number: int) -> None:
        await store.get(f"read/{number % 100}")

    async def run(store: ObjectStore) -> None:
        for number in range(100):
            await store.put(f"read/{number}", _BODY)
        await _side_by_side(store, count, one)

    return _over_s3(run, count)


def writes(count: int) -> int:
    """PUT with If-None-Match."""
    run_id = uuid4().hex

    async def one(store: ObjectStore, number: int) -> None:
        await store.put(f"written/{run_id}-{number}", _BODY, if_none_match=True)

    return _over_s3(lambda store: _side_by_side(store, count, one), count)


def listed(count: int) -> int:
    """List a page of objects that ``fill`` has put there, twenty times over."""

    async def run(store: ObjectStore) -> None:
        for _ in range(20):
            seen = [info.key async for info in store.list("listed/")]
            assert len(seen) == count

    return 20 * _over_s3(run, count)


def opened(count: int) -> int:
    """Open the bucket and ask for one object: what a process of the pool does first, for every file."""

    async def run() -> None:
        async with open_store(_settings()) as store:
            await store.get("read/0")

    for _ in range(count):
        asyncio.run(run())
    return count


def folds(count: int) -> int:
    """``training.progress``, one event a task, each folded alone, through lanes and handler. Nothing is published."""

    async def run(store: ObjectStore) -> None:
        clock, done = SystemClock(), asyncio.Event()
        await _running_tasks(store, count)
        stage = next(stage for stage in STAGES if stage.folds)

        async def handle(events: list[Any]) -> Any:
            return await keep_progress(events, store=store, clock=clock)

        process = Processor(stage, handle, FakePublisher(), clock)
        left = count

        async def counted(items: list[Any]) -> float | None:
            nonlocal left
            delay = await process(items)
            left -= len(items)
            if left <= 0:
                done.set()
            return delay

        lanes = Lanes(counted, Settings().concurrency, folds=True)
        lanes.start()
        for item in items_of([progress_record(0, f"t-{number}", offset=number) for number in range(count)]):
            lanes.put(item)
        await done.wait()
        await lanes.close(5)

    return _over_s3(run, count)


def sweep(count: int) -> int:
    """One sweep of the reconciler over tasks that all run. The executor is in memory."""

    async def run(store: ObjectStore) -> None:
        await _running_tasks(store, count)
        executor, settings = FakeExecutor(), _settings()
        for number in range(count):
            await store.put(layout.active(f"t-{number}"), b"")
            executor.set_state(f"t-{number}", 1, JobStatus(state="running"))
        reconciler = Reconciler(store, FakeExecutors(executor), Projects(), FakePublisher(), SystemClock(), settings)
        await reconciler.sweep()

    return _over_s3(run, count)


def prepared(count: int) -> int:
    """What ``folds`` and ``sweep`` do before they begin: it is taken off their figures."""
    return _over_s3(lambda store: _running_tasks(store, count), count)


async def _running_tasks(store: ObjectStore, count: int) -> None:
    async def one(store: ObjectStore, number: int) -> None:
        state = TaskState(task_id=f"t-{number}", phase=Phase.RUNNING, attempt=1)
        await store.put(layout.task(state.task_id, "state"), msgspec.json.encode(state))

    await _side_by_side(store, count, one)


async def _side_by_side(store: ObjectStore, count: int, one: Callable[[ObjectStore, int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await one(store, number)

    await asyncio.gather(*(some() for _ in range(Settings().concurrency)))


def _over_s3(run: Callable[[ObjectStore], Awaitable[None]], count: int) -> int:
    configure_logging("json", "warning")

    async def over() -> int:
        async with open_store(_settings()) as store:
            await run(store)
        return count

    return asyncio.run(over())


def _settings() -> Settings:
    given = Settings.from_environment()
    return msgspec.structs.replace(given, storage_url=f"s3://{BUCKET}")
