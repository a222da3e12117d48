"""What the bucket costs a day."""

from typing import NamedTuple

from tests.bench.events.requests import stored
from tests.bench.scaling.model import DAY, Day, asked, sweeping


class Prices(NamedTuple):
    """Prices of S3 Standard in us-east-1, USD: an assumption of November 2026, to be checked against AWS's own page."""

    #: A thousand PUT, COPY, POST or LIST.
    writes: float = 0.005
    #: A thousand GET or HEAD.
    reads: float = 0.0004
    gb_month: float = 0.023


class Item(NamedTuple):
    """What a part of the system asks of the bucket in a day, and its price."""

    what: str
    writes: float
    reads: float
    usd: float


def bill(day: Day, prices: Prices | None = None) -> list[Item]:
    """Return who asks the bucket how often in a day, and what that costs."""
    of_task = asked().values()
    folds = day.running * DAY * day.folds_per_second
    sweep = sweeping(day, day.running)
    rounds = DAY / sweep.round_seconds
    beats = day.workers * DAY / max(day.reconcile_seconds, sweep.round_seconds / 4)
    counted = {
        "stages, without progress": (
            day.tasks * sum(each.writes for each in of_task),
            day.tasks * sum(each.reads for each in of_task),
        ),
        "progress": (folds, folds),
        "trainers' heartbeats": (0, day.running * DAY / day.heartbeat_seconds),
        "sweeps": (rounds * sweep.listings + 2 * beats, rounds * day.running),
        # One worker lists; each says with a PUT and a LIST that it is there.
        "outbox, while Kafka answers": ((1 + 2 * day.workers) * DAY / day.reconcile_seconds, 0),
    }
    price = prices or Prices()
    return [
        Item(what, written, read, (written * price.writes + read * price.reads) / 1000)
        for what, (written, read) in counted.items()
    ]


def kept(day: Day, prices: Prices | None = None) -> tuple[float, float, float]:
    """Return what a day's tasks leave for good: objects, gigabytes, and USD a month for them."""
    found = stored().values()
    gigabytes = day.tasks * sum(size for _, size in found) / 1e9
    return day.tasks * sum(objects for objects, _ in found), gigabytes, gigabytes * (prices or Prices()).gb_month
