"""What so many tasks a day ask of workers, partitions and the bucket: arithmetic on counted requests and measured times.

Everything is for the busiest minute, except what is paid for: that is for the day.
"""

from functools import cache
from math import ceil
from typing import NamedTuple

from contracts.topics import TOPICS
from tests.bench.events.requests import IN_POOL, reads, requests, writes
from tests.bench.scaling import measured
from tests.bench.scaling.simulation import Latency, Service
from worker.settings import Settings

DAY = 86_400
PROGRESS = "training-progress"
#: Pieces of work a task gives each stage. Dispatch also looks who waits for a verdict. Progress comes by the event.
HANDLINGS = {"dataset-validation": 1, "cost-estimation": 1, "training-dispatch": 2, "model-export": 1}
#: Files opened by the pool's processes, for a dataset of one file: a scan and its conclusion, a count, the same again.
_OPENED = {"dataset-validation": 2, "cost-estimation": 1, "training-dispatch": 1}
#: A core above this share of the busiest minute is too busy: the next one waits too long.
BUSY = 0.7


class Day(NamedTuple):
    """A day of a platform. What is not measured is assumed here, and can be set on the command line."""

    tasks: int = 100_000
    #: The busiest minute, as a multiple of the mean.
    peak_factor: float = 3.0
    training_seconds: float = 3600.0
    #: The shipped trainer says every step.
    events_per_second: float = 1.0
    dataset_bytes: float = 5e6
    bytes_per_token: float = 4.0
    workers: int = 12
    partitions: int = TOPICS["training.progress"].partitions
    read_seconds: float = 0.015
    write_seconds: float = 0.030
    status_seconds: float = 0.010
    #: What one worker of the fleet sweeps, for all of them.
    sweepers: int = 1
    heartbeat_seconds: float = Settings().heartbeat_seconds
    #: List prices of S3 Standard in us-east-1, read 2026-11: a thousand PUT, COPY, POST or LIST; a thousand GET and
    #: HEAD; a gigabyte a month. An assumption: they change.
    usd_per_1k_writes: float = 0.005
    usd_per_1k_reads: float = 0.0004
    usd_per_gb_month: float = 0.023

    @property
    def tasks_per_second(self) -> float:
        """Return the tasks a second in the busiest minute."""
        return self.tasks / DAY * self.peak_factor

    @property
    def running(self) -> float:
        """Return how many tasks train at a time on average."""
        return self.tasks / DAY * self.training_seconds

    @property
    def running_at_peak(self) -> float:
        """Return how many tasks train at a time after an hour of peak."""
        return self.running * self.peak_factor

    @property
    def latency(self) -> Latency:
        """Return the latency of a request of either kind, for the simulation: half of it never varies."""
        mean = (self.read_seconds + self.write_seconds) / 2
        return Latency(mean / 2, mean)


class Asked(NamedTuple):
    """Requests to the bucket, by price."""

    writes: float
    reads: float

    def times(self, factor: float) -> "Asked":
        """Return so many of it."""
        return Asked(self.writes * factor, self.reads * factor)

    @property
    def cpu_seconds(self) -> float:
        """Return what they cost the core that asks."""
        return self.writes * measured.WRITE_SECONDS + self.reads * measured.READ_SECONDS


@cache
def asked_by(stage: str) -> Asked:
    """Return what a task makes a stage's own loop, or its pool, ask of the bucket; progress: an event folded alone."""
    counted = requests()[stage]
    return Asked(writes(counted), reads(counted))


def service(stage: str, day: Day) -> Service:
    """Return what one piece of a stage's work takes, for the simulation."""
    if stage == PROGRESS:
        # Its status is published, and read by the stage that exports.
        cpu = measured.FOLDED_SECONDS + measured.PUBLISHED_SECONDS + measured.TAKE_IN_SECONDS
        return Service(cpu + asked_by(stage).cpu_seconds, round(sum(asked_by(stage))))
    handlings = HANDLINGS[stage]
    own = asked_by(stage).times(1 / handlings)
    cpu = measured.HANDLED_SECONDS + measured.PUBLISHED_SECONDS + own.cpu_seconds
    return Service(cpu, round(sum(own)), _pool_seconds(stage, day) / handlings)


def _pool_seconds(stage: str, day: Day) -> float:
    if stage not in _OPENED:
        return 0.0
    seconds = _OPENED[stage] * measured.OPEN_SECONDS + asked_by(stage + IN_POOL).cpu_seconds
    if stage == "dataset-validation":
        seconds += day.dataset_bytes / measured.SCANNED_BYTES
    if stage == "cost-estimation":  # dispatch finds its count
        seconds += day.dataset_bytes / day.bytes_per_token / measured.COUNTED_TOKENS
    return seconds


def handlings_per_second(stage: str, day: Day) -> float:
    """Return the pieces of work a second of the whole fleet; progress: every event folded alone, the dearest way."""
    if stage == PROGRESS:
        return day.running_at_peak * day.events_per_second
    return day.tasks_per_second * HANDLINGS[stage]


class StageNeeds(NamedTuple):
    """What a stage needs of the fleet in the busiest minute."""

    stage: str
    handlings_per_second: float
    requests: int
    cores: float
    pool_cores: float
    #: Handlings that are under way at a time; a worker has 64 places.
    at_once: float


def needs(day: Day) -> list[StageNeeds]:
    """Return what each stage needs."""
    found = []
    for stage in (*HANDLINGS, PROGRESS):
        taken, rate = service(stage, day), handlings_per_second(stage, day)
        at_once = rate * (taken.cpu_seconds + taken.pool_seconds + taken.requests * day.latency.mean_seconds)
        cores, pool = rate * taken.cpu_seconds, rate * taken.pool_seconds
        found.append(StageNeeds(stage, rate, taken.requests, cores, pool, at_once))
    return found


def workers_needed(day: Day) -> int:
    """Return the workers whose loops keep up with every event folded alone, none busier than BUSY."""
    return max(1, ceil(sum(each.cores for each in needs(day)) / BUSY))


def partitions_needed(day: Day) -> int:
    """Return the partitions that so many workers need, in dozens: a worker without a partition does nothing."""
    return 12 * ceil(workers_needed(day) / 12)


class Bill(NamedTuple):
    """What a part of the system asks of the bucket in a day."""

    what: str
    writes: float
    reads: float

    def usd(self, day: Day) -> float:
        """Return its price a day."""
        return (self.writes * day.usd_per_1k_writes + self.reads * day.usd_per_1k_reads) / 1000


def bills(day: Day) -> list[Bill]:
    """Return who asks the bucket how often in a day."""
    work = [Asked(writes(each), reads(each)) for stage, each in requests().items()]
    events = day.tasks * day.training_seconds * day.events_per_second
    sweep = sweeping(day)
    return [
        Bill("the stages, without progress", day.tasks * sum(a.writes for a in work), day.tasks * sum(a.reads for a in work)),
        Bill("progress, every event folded alone", events, events),
        Bill("the trainers' heartbeats", 0, day.running * DAY / day.heartbeat_seconds),
        Bill("sweeps of the reconciler", DAY / sweep.round_seconds * sweep.pages * day.sweepers, DAY / sweep.round_seconds * day.running),
    ]  # fmt: skip


class Sweeping(NamedTuple):
    """One sweep of the reconciler over what trains on average."""

    look_seconds: float
    pages: int
    sweep_seconds: float
    #: From one sweep's begin to the next one's.
    round_seconds: float


def sweeping(day: Day, at_once: int = 1) -> Sweeping:
    """Return what a sweep takes: each look is a GET of the state and a question to the engine."""
    wait = day.read_seconds + day.status_seconds
    look = max(measured.READ_SECONDS, (wait + measured.READ_SECONDS) / at_once)
    mine = day.running / day.sweepers
    pages = max(1, ceil(mine / 1000))
    seconds = mine * (look + measured.LISTED_SECONDS) + pages * day.read_seconds
    return Sweeping(look, pages, seconds, seconds + Settings().reconcile_seconds)
