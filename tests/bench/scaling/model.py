"""What so many tasks a day ask of workers, partitions and the bucket: counted requests times measured seconds.

Workers and limits are for the busiest minute, the bill is for the day.
"""

from functools import cache
from math import ceil
from typing import NamedTuple

from contracts.topics import TOPICS
from handlers.layout import ACTIVE_SHARDS
from tests.bench.events.requests import IN_POOL, reads, requests, writes
from tests.bench.scaling import measured
from tests.bench.scaling.simulation import Latency, Service
from worker.settings import Settings
from worker.sweeps.reconciler import LOOKS_AT_ONCE

DAY = 86_400
PROGRESS = "training-progress"
#: Pieces of work a task gives each stage. Dispatch also looks who waits for a verdict. Progress comes by the event.
HANDLINGS = {"dataset-validation": 1, "cost-estimation": 1, "training-dispatch": 2, "model-export": 1}
#: Times a process of the pool opens the bucket for a dataset of one file: to scan, to conclude, to count, to find that.
_OPENED = {"dataset-validation": 2, "cost-estimation": 1, "training-dispatch": 1}
#: A core that is busier than this in the busiest minute lets the next piece of work wait too long.
BUSY = 0.7


class Day(NamedTuple):
    """A day of a platform, and how it is run. What is neither measured nor counted is assumed here."""

    tasks: float = 100_000
    #: The busiest minute, as a multiple of the mean.
    peak_factor: float = 3.0
    training_seconds: float = 3600.0
    #: The shipped trainer says every step.
    events_per_second: float = 1.0
    dataset_bytes: float = 5e6
    bytes_per_token: float = 4.0
    workers: int = 12
    #: Processes of a worker's pool.
    pool: int = 4
    partitions: int = TOPICS["training.progress"].partitions
    places: int = Settings().concurrency
    progress_seconds: float = Settings().progress_seconds
    heartbeat_seconds: float = Settings().heartbeat_seconds
    reconcile_seconds: float = Settings().reconcile_seconds
    read_seconds: float = 0.015
    write_seconds: float = 0.030
    #: What the engine takes to say how a job is.
    status_seconds: float = 0.010

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
        """Return how many tasks train at a time where the peak lasts as long as a training."""
        return self.running * self.peak_factor

    @property
    def folds_per_second(self) -> float:
        """Return the writes a second of a task that trains: one an event, but no more than rests allow."""
        return 1 / max(1 / self.events_per_second, self.progress_seconds)

    @property
    def latency(self) -> Latency:
        """Return the latency of a request, reads and writes alike: half of it never varies."""
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
def asked() -> dict[str, Asked]:
    """Return what a task makes each stage's loop, and its pool, ask of the bucket; progress: one fold."""
    return {stage: Asked(writes(counted), reads(counted)) for stage, counted in requests().items()}


def service(stage: str, day: Day) -> Service:
    """Return what one piece of a stage's work takes; progress: one fold."""
    if stage == PROGRESS:
        # Its status is published, and taken in by the stage that exports.
        cpu = asked()[stage].cpu_seconds + measured.PUBLISHED_SECONDS + measured.TAKE_IN_SECONDS
        return Service(cpu, round(sum(asked()[stage])))
    handlings = HANDLINGS[stage]
    own = asked()[stage].times(1 / handlings)
    cpu = measured.HANDLED_SECONDS + measured.PUBLISHED_SECONDS + own.cpu_seconds
    return Service(cpu, round(sum(own)), _pool_seconds(stage, day) / handlings)


def _pool_seconds(stage: str, day: Day) -> float:
    if stage not in _OPENED:
        return 0.0
    seconds = _OPENED[stage] * measured.OPEN_SECONDS + asked()[stage + IN_POOL].cpu_seconds
    if stage == "dataset-validation":
        seconds += day.dataset_bytes / measured.SCANNED_BYTES
    if stage == "cost-estimation":  # dispatch finds its count
        seconds += day.dataset_bytes / day.bytes_per_token / measured.COUNTED_TOKENS
    return seconds


def handlings_per_second(stage: str, day: Day) -> float:
    """Return the pieces of work a second of the whole fleet; progress: folds."""
    if stage == PROGRESS:
        return day.running_at_peak * day.folds_per_second
    return day.tasks_per_second * HANDLINGS[stage]


class StageNeeds(NamedTuple):
    """What a stage needs of the fleet in the busiest minute."""

    stage: str
    events_per_second: float
    handlings_per_second: float
    requests_per_second: float
    cores: float
    pool_cores: float
    #: Handlings that are under way at a time.
    at_once: float


def needs(day: Day) -> list[StageNeeds]:
    """Return what each stage needs."""
    found = []
    for stage in (*HANDLINGS, PROGRESS):
        taken, rate = service(stage, day), handlings_per_second(stage, day)
        events = day.running_at_peak * day.events_per_second if stage == PROGRESS else rate
        # Folding an event and taking it in are measured as one.
        cores = rate * taken.cpu_seconds + events * measured.FOLDED_SECONDS
        at_once = rate * (taken.cpu_seconds + taken.pool_seconds + taken.requests * day.latency.mean_seconds)
        found.append(StageNeeds(stage, events, rate, rate * taken.requests, cores, rate * taken.pool_seconds, at_once))
    return found


def cores_needed(day: Day) -> float:
    """Return the cores that all event loops need in the busiest minute: the stages' and the sweeps'."""
    looks = day.running_at_peak / sweeping(day, day.running_at_peak).round_seconds
    return sum(each.cores for each in needs(day)) + looks * measured.LOOK_SECONDS


def workers_needed(day: Day) -> int:
    """Return the workers whose loops keep up in the busiest minute, none busier than BUSY."""
    workers = 1
    # The more share the sweeps, the sooner a task's next look comes, and the more looks there are.
    while (needed := ceil(cores_needed(day._replace(workers=workers)) / BUSY)) > workers:
        workers = needed
    return workers


def partitions_needed(day: Day) -> int:
    """Return a multiple of the workers, so that none has a partition more than the others; a dozen at least."""
    workers = workers_needed(day)
    return workers * ceil(TOPICS["training.progress"].partitions / workers)


#: A sweep that takes longer notices lost jobs late.
_SWEEP_SECONDS = 60.0
_LISTED_A_PAGE = 1000


class Sweeping(NamedTuple):
    """The reconciler's sweeps over what trains, shared by the workers."""

    sweepers: int
    listings: int
    #: From one look at a task to the next.
    round_seconds: float
    #: The most tasks that are swept in a minute.
    most_running: float


def sweeping(day: Day, running: float) -> Sweeping:
    """Return what a round over so many tasks takes: a look is a GET of the state and a question to the engine."""
    sweepers = min(day.workers, ACTIVE_SHARDS)
    waits = measured.LOOK_SECONDS + day.read_seconds + day.status_seconds
    look = measured.LISTED_SECONDS + max(measured.LOOK_SECONDS, waits / LOOKS_AT_ONCE)
    listings = max(ceil(running / _LISTED_A_PAGE), 1 if sweepers == 1 else ACTIVE_SHARDS)
    seconds = running / sweepers * look + listings / sweepers * day.read_seconds
    most = _SWEEP_SECONDS / look * sweepers
    return Sweeping(sweepers, listings, day.reconcile_seconds + seconds, most)
