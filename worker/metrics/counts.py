"""What a worker counts: plain numbers, added to on its event loop and read there when Prometheus asks.

A record costs half a microsecond here. With Prometheus' own counters and histograms, which are made for threads, it
would cost three times that: a tenth of what taking a record in costs altogether.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from typing import Literal

#: Upper bounds of what a histogram tells apart, seconds: from a look at the bucket to scanning files for an hour.
BOUNDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
)

ReceiptResult = Literal["found", "made", "lost"]


class Timing:
    """How long something took: how often in each bucket of :data:`BOUNDS` (the last one has no bound), and in sum."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one more; a bound belongs to the bucket below it."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class StageCounts:
    """What is counted of a stage. Keys are those of the metrics' second label, see names.py."""

    __slots__ = ("dead_letters", "handling", "outcomes", "postponed", "receipts", "retries")

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.handling = Timing()
        self.retries: Counter[str] = Counter()
        self.postponed = 0
        self.dead_letters: Counter[str] = Counter()
        self.receipts: Counter[ReceiptResult] = Counter()


class PublishCounts:
    """What is counted of publishing: messages by topic, and how long acknowledgements take."""

    __slots__ = ("failures", "published", "seconds")

    def __init__(self) -> None:
        self.published: Counter[str] = Counter()
        self.seconds = Timing()
        self.failures = 0


class Counts:
    """What a worker counts. Not for several threads: everything here happens on one event loop."""

    def __init__(self) -> None:
        self._stages: dict[str, StageCounts] = {}
        self.publishing = PublishCounts()
        #: Submits by (executor, result).
        self.submits: Counter[tuple[str, str]] = Counter()

    def stage(self, name: str) -> StageCounts:
        """Return what is counted of a stage: always the same object, to be asked for once and kept."""
        return self._stages.setdefault(name, StageCounts())

    @property
    def stages(self) -> Mapping[str, StageCounts]:
        """Return what is counted, by stage."""
        return self._stages
