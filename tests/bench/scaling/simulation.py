"""One worker on virtual time: its real intake, lanes and commits; Kafka, the bucket and the core are modelled.

What is real: ``worker/delivery`` from taking a batch in to committing it, with its bounds and its pauses. What is not:
a request to the bucket is a wait, processor time is a turn at one core that all stages share, Kafka is a list.
"""

import asyncio
import heapq
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from aiokafka import TopicPartition
from faststream.kafka import KafkaBroker
from msgspec.structs import replace

from handlers.outcome import Outcome
from handlers.redelivery import IN_ORDER
from handlers.table import Stage
from handlers.training_progress import only_steps
from tests.bench.scaling.broker import Arrival, Broker, Record, command, progress
from tests.bench.scaling.measured import TAKE_IN_SECONDS
from tests.fakes.delivery import FakePublisher
from tests.fakes.virtual_time import VirtualClock
from worker.delivery.intake import Intake
from worker.delivery.item import Item
from worker.delivery.processing import Processor
from worker.settings import Settings

#: What a poll waits for a first record, as the intake sets it. After one that found nothing FastStream sleeps as long
#: again.
_POLL_SECONDS = 0.05


class Service(NamedTuple):
    """What one handling takes: processor seconds on the loop, requests to the bucket, seconds in the pool."""

    cpu_seconds: float
    requests: int
    pool_seconds: float = 0.0


class Latency(NamedTuple):
    """What a request takes: never less than the floor, exponentially distributed above it."""

    floor_seconds: float
    mean_seconds: float

    def of(self, requests: int, chance: random.Random) -> float:
        """Return what so many requests one after the other take."""
        above = self.mean_seconds - self.floor_seconds
        return requests * self.floor_seconds + (chance.gammavariate(requests, above) if requests and above else 0.0)


class Cores:
    """Processor time, first come, first served: a worker's loop is one core, its pool several."""

    def __init__(self, count: int = 1) -> None:
        self._free_at = [0.0] * count
        self.used_seconds = 0.0

    async def work(self, seconds: float) -> None:
        """Return when so much was computed."""
        if not seconds:
            return
        now = asyncio.get_running_loop().time()
        done = max(now, heapq.heappop(self._free_at)) + seconds
        heapq.heappush(self._free_at, done)
        self.used_seconds += seconds
        await asyncio.sleep(done - now)


@dataclass
class StageRun:
    """What became of a stage: how long each record took from its writing to its end, by key; and what was left."""

    delays: list[tuple[str, int, float]] = field(default_factory=list)
    handlings: int = 0
    requests: int = 0
    cpu_seconds: float = 0.0
    busy_seconds: float = 0.0
    pauses: int = 0
    backlog: int = 0

    def quantile(self, share: float, where: Callable[[str, int], bool] = lambda *_: True) -> float:
        """Return a quantile of the delays in seconds, of the records that a key and a partition select."""
        found = sorted(delay for key, partition, delay in self.delays if where(key, partition))
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


class Load(NamedTuple):
    """A stage of a simulated worker: what arrives, in order of time, and what a handling takes."""

    arrivals: Iterable[Arrival]
    service: Service
    folds: bool = False


async def simulate(
    loads: Mapping[str, Load], *, seconds: float, latency: Latency, pool: int = 1, seed: int = 1, **changed: Any
) -> dict[str, StageRun]:
    """Run a worker's stages for so long; return what became of each. Deterministic. Needs a loop on virtual time.

    ``changed`` are settings of the worker by name.
    """
    core, cpu_pool = Cores(), Cores(pool)
    async with AsyncExitStack() as stack:
        runs = {}
        for number, (name, load) in enumerate(loads.items()):
            stage = _Simulated(name, load, core, cpu_pool, latency, seeded(seed * 1000 + number), changed)
            runs[name] = await stack.enter_async_context(stage.running())
        await asyncio.sleep(seconds)
    return runs


class _Simulated:
    """One stage: a producer, a consumer's polls, the real intake."""

    def __init__(
        self,
        name: str,
        load: Load,
        core: Cores,
        pool: Cores,
        latency: Latency,
        chance: random.Random,
        changed: dict[str, Any],
    ) -> None:
        topic, body = ("training.progress", progress) if load.folds else ("task.command", command)
        self._load, self._core, self._pool, self._latency, self._chance = load, core, pool, latency, chance
        self._broker = Broker(topic, body)
        self._run = StageRun()
        clock = VirtualClock()
        unhurried = only_steps if load.folds else None
        stage = Stage(name, (topic,), self._handle, (), folds=load.folds, unhurried=unhurried, retry=IN_ORDER)
        self._process = Processor(stage, self._handle, FakePublisher(), clock)
        settings = replace(Settings(), drain_seconds=0, **changed)
        self._intake = Intake(stage, KafkaBroker("nowhere:0"), cast("Processor", self._timed), clock, settings)
        cast("Any", self._intake)._subscriber.consumer = self._broker

    @asynccontextmanager
    async def running(self) -> AsyncIterator[StageRun]:
        """Run while it is entered."""
        arrivals = list(self._load.arrivals)
        places = {TopicPartition(self._broker.topic, arrival.partition) for arrival in arrivals}
        await self._intake.on_partitions_assigned(places)
        self._intake.start()
        loops = [asyncio.create_task(self._produce(arrivals)), asyncio.create_task(self._consume())]
        try:
            yield self._run
        finally:
            self._run.pauses, self._run.backlog = self._broker.pauses, self._broker.backlog + self._intake.lanes.depth
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._intake.drain()

    async def _produce(self, arrivals: list[Arrival]) -> None:
        loop = asyncio.get_running_loop()
        for arrival in arrivals:
            if arrival.at > loop.time():
                await asyncio.sleep(arrival.at - loop.time())
            self._broker.write(arrival)

    async def _consume(self) -> None:
        while True:
            records = self._broker.poll()
            if not records:
                await self._broker.written.wait()
                await asyncio.sleep(_asleep(asyncio.get_running_loop().time()))
                continue
            await self._compute(len(records) * TAKE_IN_SECONDS)
            await self._intake._take_batch(await self._intake._parse(cast("Any", tuple(records))))

    async def _timed(self, items: list[Item]) -> float | None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        delay = await self._process(items)
        self._run.busy_seconds += loop.time() - began
        for item in items:
            record = cast("Record", item.record)
            self._run.delays.append((record.key.decode(), record.partition, loop.time() - record.at))
        return delay

    async def _handle(self, _: Any) -> Outcome:
        service = self._load.service
        self._run.handlings += 1
        self._run.requests += service.requests
        # Half of what is computed comes before the bucket's answers, half after them.
        await self._compute(service.cpu_seconds / 2)
        await self._pool.work(service.pool_seconds)
        await asyncio.sleep(self._latency.of(service.requests, self._chance))
        await self._compute(service.cpu_seconds / 2)
        return Outcome(name="done")

    async def _compute(self, seconds: float) -> None:
        self._run.cpu_seconds += seconds
        await self._core.work(seconds)


def _asleep(now: float) -> float:
    """Return how long an idle consumer sleeps on: half of the time it is inside a poll, and answers at once."""
    phase = now % (2 * _POLL_SECONDS)
    return 2 * _POLL_SECONDS - phase if phase > _POLL_SECONDS else 0.0


def seeded(seed: int) -> random.Random:
    """Return chance that is the same every time."""
    return random.Random(seed)  # noqa: S311 - nothing is hidden behind it


def poisson(rate: float, seconds: float, chance: random.Random) -> Iterator[float]:
    """Yield the times of events that know nothing of each other, so many a second on average."""
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)
