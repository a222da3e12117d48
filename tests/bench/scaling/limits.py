"""What gives out first as tasks a day grow, with the workers and partitions there are."""

from typing import NamedTuple

from tests.bench.events.requests import reads, requests_under, writes
from tests.bench.scaling.model import BUSY, PROGRESS, Day, needs, sweeping
from worker.settings import Settings

#: S3's documented requests a second for each of the ranges of keys that it keeps apart ("partitioned prefix"): PUT,
#: COPY, POST, DELETE; GET, HEAD. It splits them under load, in tens of minutes, and answers 503 until then.
S3_WRITES, S3_READS = 3500, 5500


class Limit(NamedTuple):
    """Something there is only so much of: how much of it the busiest minute takes, and up to how many tasks a day."""

    what: str
    there_is: float
    taken: float
    tasks_a_day: float
    then: str


def limits(day: Day) -> list[Limit]:
    """Return the limits of a fleet, the first to be reached first. All but the sweeps' grow in step with the tasks."""
    stages = {each.stage: each for each in needs(day)}
    workers = min(day.workers, day.partitions)
    busiest = max(stages.values(), key=lambda each: each.at_once)
    folds = stages[PROGRESS].handlings_per_second
    under = requests_under()["tasks"]
    written = folds + writes(under) * day.tasks_per_second
    sweep = sweeping(day, day.running_at_peak)
    looks = day.running_at_peak / sweep.round_seconds
    read = folds + day.running_at_peak / day.heartbeat_seconds + looks + reads(under) * day.tasks_per_second
    waiting = day.running_at_peak / day.partitions * day.events_per_second * day.progress_seconds
    found = [
        _limit(day, "event loops, cores", workers * BUSY, sum(each.cores for each in stages.values()), "delays grow"),
        _limit(
            day, "processes of the pools, cores", day.workers * day.pool * BUSY,
            sum(each.pool_cores for each in stages.values()), "fees come late",
        ),
        _limit(day, f"places of {busiest.stage}", workers * day.places * BUSY, busiest.at_once, "delays grow"),
        _limit(day, "PUT a second under tasks/", S3_WRITES, written, "503 until S3 has split the prefix"),
        _limit(day, "GET a second under tasks/", S3_READS, read, "503 until S3 has split the prefix"),
        _limit(
            day, "steps waiting in a partition", Settings().spread_limit, waiting, "rests are cut short: more writes",
        ),
        _limit(day, "tasks swept in a minute", sweep.most_running, day.running_at_peak, "lost jobs are noticed late"),
    ]  # fmt: skip
    return sorted(found, key=lambda limit: limit.tasks_a_day)


def _limit(day: Day, what: str, there_is: float, taken: float, then: str) -> Limit:
    return Limit(what, there_is, taken, day.tasks * there_is / taken if taken else float("inf"), then)
