"""Replay: a stretch of a topic once more through its stages. Nothing is trained a second time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog
from msgspec import Struct, field

from contracts.topics import TOPICS
from handlers.errors import Transient
from handlers.outcome import Outcome
from handlers.table import STAGES, Stage
from worker.app import bind, default_ports
from worker.clock import SystemClock
from worker.could_not import CouldNot
from worker.delivery.item import Item, take_in
from worker.delivery.lanes import Lanes
from worker.delivery.offsets import PartitionProgress
from worker.delivery.publishing import Publisher
from worker.delivery.receipts import BucketReceipts
from worker.delivery.waiting import estimate_due
from worker.dry_run import (
    Change,
    ComparingReceipts,
    ForgetfulStore,
    IdleExecutors,
    ScratchScanner,
    UnwritingPlanner,
)
from worker.kafka.broker import Brokers
from worker.kafka.topic_reader import read_topic
from worker.settings import Settings

log = structlog.get_logger()

#: Records in all lanes at the most: what is read ahead.
_AHEAD = 1000
_PATIENCE = 10


class NotReplayable(CouldNot, ValueError):
    """What was asked for cannot be replayed; the text says what can."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What to replay: a topic, between two times of its records, one key, one stage; so many records a second."""

    topic: str
    since: datetime | None = None
    until: datetime | None = None
    key: str | None = None
    stage: str | None = None
    rate: float | None = None
    dry_run: bool = False
    recompute: bool = False


class StageResult(Struct, kw_only=True):
    """What a stage made of the records: how many ended in which outcome, and how many events were said a topic."""

    outcomes: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)


class Result(Struct, kw_only=True):
    """What a replay did. ``poison`` records were left alone: they are dead letters already."""

    topic: str
    dry_run: bool
    records: int = 0
    poison: int = 0
    stages: dict[str, StageResult] = {}
    changed: list[Change] = []
    failed: list[dict[str, Any]] = []


async def replay(settings: Settings, wanted: Wanted, tell: Callable[[Result], None] = lambda _: None) -> Result:
    """Replay records that were on the topic when it began. Idempotent; ``tell`` is called now and then.

    Without ``dry_run`` the events are published under the ids they always had. Poison, and what a stage fails on, is
    counted and never dead-lettered again.

    Raises:
        NotReplayable: no stage reads the topic, or not the one that was asked for.
        BrokerUnavailable, Unavailable: broker or bucket do not answer.
    """
    stages = stages_of(wanted)
    room = asyncio.Semaphore(_AHEAD)
    result = Result(topic=wanted.topic, dry_run=wanted.dry_run, stages={stage.name: StageResult() for stage in stages})
    async with _ports(settings, wanted) as ports, _publishing(settings, wanted) as publish:
        lanes = [
            Lanes(
                _Again(stage, bind(stage, ports), publish, room, settings, result),
                settings.concurrency,
                folds=stage.folds,
            )
            for stage in stages
        ]
        for each in lanes:
            each.start()
        try:
            await _feed(settings, wanted, lanes, room, result, tell)
        finally:
            await asyncio.gather(*(each.close(settings.drain_seconds) for each in lanes))
        if isinstance(receipts := ports["receipts"], ComparingReceipts):
            result.changed = receipts.changes
    return result


def stages_of(wanted: Wanted) -> list[Stage]:
    """Return the stages that read the topic, or the one of them that is wanted. Raises NotReplayable."""
    if wanted.topic not in TOPICS:
        raise NotReplayable(f"no topic {wanted.topic}; there are {', '.join(TOPICS)}")
    reading = [stage for stage in STAGES if wanted.topic in stage.topics]
    chosen = [stage for stage in reading if wanted.stage in (None, stage.name)]
    if not chosen:
        names = ", ".join(stage.name for stage in reading) or "none"
        raise NotReplayable(f"no stage {wanted.stage or ''} reads {wanted.topic}; those that do: {names}")
    return chosen


async def _feed(
    settings: Settings,
    wanted: Wanted,
    lanes: Sequence[Lanes],
    room: asyncio.Semaphore,
    result: Result,
    tell: Callable[[Result], None],
) -> None:
    pause = 1 / wanted.rate if wanted.rate else 0.0
    async for record in read_topic(Brokers.of(settings), wanted.topic, wanted.since, wanted.until):
        item = take_in(record, PartitionProgress())
        if wanted.key is not None and (item.event is None or item.event.key != wanted.key):
            continue
        result.records += 1
        result.poison += item.poison is not None
        if item.poison is None:
            for each in lanes:
                await room.acquire()
                each.put(Item(item.record, PartitionProgress(), item.source, item.event))
        tell(result)
        await asyncio.sleep(pause)
    for _ in range(_AHEAD):
        await room.acquire()


Publish = Callable[[Outcome], Awaitable[None]]


class _Again:
    """Runs a stage's handler on records that were processed before."""

    def __init__(
        self, stage: Stage, handler: Callable[[Any], Awaitable[Outcome]], publish: Publish, room: asyncio.Semaphore,
        settings: Settings, result: Result,
    ) -> None:  # fmt: skip
        self._stage, self._handler, self._publish, self._room = stage, handler, publish, room
        self._delay_seconds = settings.estimate_delay_seconds
        self._clock = SystemClock()
        self._began = self._clock.now()
        self._result = result

    async def __call__(self, items: list[Item]) -> float | None:
        """Process items of one lane; a bucket or broker that does not answer is waited for. See lanes.Process."""
        delay = await self._process(items)
        if delay is None:
            for _ in items:
                self._room.release()
        return delay

    async def _process(self, items: list[Item]) -> float | None:
        events = [item.event for item in items if item.event]
        if self._stage.due:
            due = estimate_due(events[0].data.imported_at, self._began, self._delay_seconds)
            early = (due - self._clock.now()).total_seconds()
            if early > 0:
                return early
        try:
            outcome = await self._handler(events if self._stage.folds else events[0])
            await self._publish(outcome)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the rest goes on
            items[0].attempts += 1
            if isinstance(error, Transient) and items[0].attempts < _PATIENCE:
                return 0.5 * items[0].attempts
            self._note(items[0], error)
            return None
        found = self._result.stages[self._stage.name]
        found.outcomes[outcome.name] += len(events)
        found.said.update(event.topic for event in outcome.events)
        return None

    def _note(self, item: Item, error: Exception) -> None:
        source = item.source
        said = {"stage": self._stage.name, "partition": source.partition, "offset": source.offset, "error": repr(error)}
        log.warning("replay.record_failed", **said)
        self._result.failed.append(said)


@asynccontextmanager
async def _ports(settings: Settings, wanted: Wanted) -> AsyncIterator[Mapping[str, Any]]:
    async with default_ports(settings) as ports:
        store, clock = ports["store"], ports["clock"]
        versions = {stage.name: stage.version for stage in STAGES}
        if wanted.dry_run:
            versioned = frozenset(name for name, version in versions.items() if version)
            ports["receipts"] = ComparingReceipts(ports["receipts"], clock, versioned)
            ports["scanner"] = ScratchScanner(ports["scanner"], store)
            ports["planner"] = UnwritingPlanner(ports["planner"])
            ports["executors"] = IdleExecutors(ports["executors"])
            ports["store"] = ForgetfulStore(store)
        elif wanted.recompute:
            ports["receipts"] = BucketReceipts(store, clock, versions, newest_only=True)
        yield ports


@asynccontextmanager
async def _publishing(settings: Settings, wanted: Wanted) -> AsyncIterator[Publish]:
    if wanted.dry_run:

        async def nothing(_: Outcome) -> None:
            return None

        yield nothing
        return
    publisher = Publisher(Brokers.of(settings))
    await publisher.start()
    try:
        yield lambda outcome: publisher.publish(outcome.events)
    finally:
        await publisher.stop()
