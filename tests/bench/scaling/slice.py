"""The busiest minute of one worker: the share of the fleet's arrivals that lies in its partitions."""

import random
from collections.abc import Iterator
from itertools import count

from tests.bench.scaling.broker import Arrival, partition_of
from tests.bench.scaling.model import HANDLINGS, PROGRESS, Day, handlings_per_second, service
from tests.bench.scaling.simulation import Load, StageRun, poisson, seeded, simulate
from tests.fakes.virtual_time import run_virtually
from worker.settings import Settings

#: The key that a share of all records comes under.
HOT = "hot-key"


def busiest_minute(day: Day, *, seconds: float = 60.0, hot_share: float = 0.0, seed: int = 1) -> dict[str, StageRun]:
    """Simulate the worker that has the most partitions; return what became of its stages. Deterministic.

    ``hot_share`` of the pieces of work of every stage but progress come under one key, which is this worker's.
    """
    chance = seeded(seed)
    mine = [place for place in range(day.partitions) if place % min(day.workers, day.partitions) == 0]
    if hot_share:
        mine[0] = partition_of(HOT, day.partitions)
    share = len(mine) / day.partitions
    loads = {}
    for stage in HANDLINGS:
        rate = handlings_per_second(stage, day)
        keys = _keys_in(mine, day.partitions, stage)
        arrivals = [Arrival(at, *next(keys)) for at in poisson(rate * (1 - hot_share) * share, seconds, chance)]
        if hot_share:
            arrivals += [Arrival(at, HOT, mine[0]) for at in poisson(rate * hot_share, seconds, chance)]
        loads[stage] = Load(sorted(arrivals), service(stage, day))
    tasks = max(1, round(day.running_at_peak * share))
    keys = _keys_in(mine, day.partitions, "task")
    steps = sorted(_steps([next(keys) for _ in range(tasks)], day.events_per_second, seconds, chance))
    loads[PROGRESS] = Load(steps, service(PROGRESS, day), folds=True)
    # Rests are never longer than half of the patience with a silent job: it is set along.
    patience = max(Settings().lost_job_seconds, 2 * day.progress_seconds)
    changed = {
        "concurrency": day.places,
        "progress_seconds": day.progress_seconds,
        "lost_job_seconds": patience,
    }
    return run_virtually(simulate(loads, seconds=seconds, latency=day.latency, pool=day.pool, seed=seed, **changed))


def _keys_in(mine: list[int], partitions: int, name: str) -> Iterator[tuple[str, int]]:
    """Yield keys that lie in these partitions, each with its partition."""
    for number in count():
        key = f"{name}-{number}"
        if (place := partition_of(key, partitions)) in mine:
            yield key, place


def _steps(tasks: list[tuple[str, int]], rate: float, seconds: float, chance: random.Random) -> Iterator[Arrival]:
    """Yield the progress of tasks that each say their steps evenly, none in step with another."""
    for key, place in tasks:
        at = chance.uniform(0, 1 / rate)
        while at < seconds:
            yield Arrival(at, key, place)
            at += 1 / rate
