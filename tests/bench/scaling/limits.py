"""What gives out first as tasks a day grow, with the workers and partitions there are."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.bench.events.requests import reads, requests_under, writes
from tests.bench.scaling.model import BUSY, PROGRESS, Day, cores_needed, handlings_per_second, needs, sweeping
from worker.settings import Settings

#: S3's documented requests a second for each of the ranges of keys that it keeps apart ("partitioned prefix"): PUT,
#: COPY, POST, DELETE; GET, HEAD. It splits them under load, in tens of minutes, and answers 503 until then.
S3_WRITES, S3_READS = 3500, 5500


#: More tasks a day than anybody trains.
_MOST_TASKS = 1e9


class Limit(NamedTuple):
    """Something there is only so much of: how much of it the busiest minute takes, and up to how many tasks a day."""

    what: str
    there_is: float
    taken: float
    tasks_a_day: float
    then: str


def limits(day: Day) -> list[Limit]:
    """Return the limits of a fleet, the first to be reached first."""
    workers = min(day.workers, day.partitions)
    have = {
        "event loops, cores": (workers * BUSY, cores_needed, "delays grow"),
        "processes of the pools, cores": (day.workers * day.pool * BUSY, _pool_cores, "fees come late"),
        "places of the fullest stage": (workers * day.places * BUSY, _places, "delays grow"),
        "PUT a second under tasks/": (S3_WRITES, _written, "503 until S3 has split the prefix"),
        "GET a second under tasks/": (S3_READS, _read, "503 until S3 has split the prefix"),
        "steps waiting in a partition": (Settings().spread_limit, _waiting, "rests are cut short: more writes"),
        "tasks swept in a minute": (sweeping(day, 1).most_running, _running, "lost jobs are noticed late"),
    }
    found = [
        Limit(what, there_is, takes(day), _reached(day, takes, there_is), then)
        for what, (there_is, takes, then) in have.items()
    ]
    return sorted(found, key=lambda limit: limit.tasks_a_day)


def _reached(day: Day, takes: Callable[[Day], float], there_is: float) -> float:
    """Return the tasks a day that take all there is. By halving: not all grows in step with them."""
    low, high = 0.0, _MOST_TASKS
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if takes(day._replace(tasks=middle)) < there_is else (low, middle)
    return high


def _running(day: Day) -> float:
    return day.running_at_peak


def _pool_cores(day: Day) -> float:
    return sum(each.pool_cores for each in needs(day))


def _places(day: Day) -> float:
    return max(each.at_once for each in needs(day))


def _written(day: Day) -> float:
    return handlings_per_second(PROGRESS, day) + writes(_under_tasks()) * day.tasks_per_second


def _read(day: Day) -> float:
    looks = day.running_at_peak / sweeping(day, day.running_at_peak).round_seconds
    heartbeats = day.running_at_peak / day.heartbeat_seconds
    return handlings_per_second(PROGRESS, day) + heartbeats + looks + reads(_under_tasks()) * day.tasks_per_second


def _waiting(day: Day) -> float:
    return day.running_at_peak / day.partitions * day.events_per_second * day.progress_seconds


@cache
def _under_tasks() -> dict[str, int]:
    return requests_under()["tasks"]
