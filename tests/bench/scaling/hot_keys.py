"""What one key does to the others, on a worker with every partition: ``python -m tests.bench.scaling --hot-keys``."""

import random
from typing import NamedTuple

from tests.bench.scaling.broker import Arrival, partition_of
from tests.bench.scaling.model import PROGRESS, Day, service
from tests.bench.scaling.simulation import Load, Service, StageRun, poisson, seeded, simulate
from tests.fakes.virtual_time import run_virtually

HOT = "hot"
#: Requests of an import whose verdict is recorded (``tests/unit/test_bench_requests.py`` counts them).
AGAIN = 7


class Story(NamedTuple):
    """One scenario: the seconds in which 99 of 100 records are done: the hot key's, its partition's, all others."""

    what: str
    hot: float
    neighbours: float
    others: float
    handlings: int
    pauses: int


def stories(day: Day | None = None) -> list[Story]:
    """Tell all scenarios; the first two begin with how it is without a hot key."""
    day = day or Day()
    return [
        told("100 tasks, a step a second each", steps(day, 0), day, folds=True),
        told("and one task with 1,000 steps a second", steps(day, 1000), day, folds=True),
        told("the 100 tasks from a producer that sends no keys", scattered(steps(day, 0), day), day, folds=True),
        told("2 datasets a second imported", imports(day, 0), day),
        told("and one dataset imported 1,500 times at once", imports(day, 1_500), day),
        told("and one dataset imported 10,000 times at once", imports(day, 10_000), day),
    ]


def told(what: str, arrivals: list[Arrival], day: Day, *, folds: bool = False) -> Story:
    """Run a scenario to its end."""
    run = _run(arrivals, day, folds=folds)
    place = partition_of(HOT, day.partitions)
    return Story(
        what,
        run.quantile(0.99, lambda key, _: key == HOT),
        run.quantile(0.99, lambda key, at: key != HOT and at == place),
        run.quantile(0.99, lambda key, at: key != HOT and at != place),
        run.handlings,
        run.pauses,
    )


def _run(arrivals: list[Arrival], day: Day, *, folds: bool) -> StageRun:
    stage = PROGRESS if folds else "dataset-validation"
    work = service(stage, day)
    if not folds:
        # Of bytes that were judged before: the verdict is found and said.
        work = Service(work.cpu_seconds * AGAIN / work.requests, AGAIN)
    seconds = max(arrival.at for arrival in arrivals) + 3_000
    load = Load(sorted(arrivals), work, folds=folds)
    return run_virtually(simulate({stage: load}, seconds=seconds, latency=day.latency, pool=day.pool))[stage]


def steps(day: Day, hot_rate: int, seconds: int = 60) -> list[Arrival]:
    """Return the steps of 100 tasks, one a second each, and of a hot one."""
    chance = seeded(1)
    found = []
    for number in range(100):
        key, begin = f"t-{number}", chance.random()
        found += [Arrival(begin + at, key, partition_of(key, day.partitions)) for at in range(seconds)]
    place = partition_of(HOT, day.partitions)
    return found + [Arrival(number / hot_rate, HOT, place) for number in range(hot_rate * seconds)]


def imports(day: Day, hot: int, seconds: int = 120) -> list[Arrival]:
    """Return two imports a second of datasets that differ, and so many of one dataset at once."""
    keys = [(at, f"d-{number}") for number, at in enumerate(poisson(2, seconds, seeded(2)))]
    place = partition_of(HOT, day.partitions)
    return [Arrival(at, key, partition_of(key, day.partitions)) for at, key in keys] + [Arrival(5.0, HOT, place)] * hot


def scattered(arrivals: list[Arrival], day: Day) -> list[Arrival]:
    """Return them on partitions by chance, as a producer without keys writes them."""
    chance: random.Random = seeded(3)
    return [arrival._replace(partition=chance.randrange(day.partitions)) for arrival in arrivals]
