"""What a worker answers to Prometheus: its counts, how its stages stand, and what its process uses."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from worker.delivery.pausing import REASONS as PAUSE_REASONS
from worker.delivery.standing import Load
from worker.health import STATES, Health
from worker.metrics import names
from worker.metrics.counts import BOUNDS, Counts, Timing
from worker.metrics.names import Metric

Rows = Iterable[tuple[tuple[str, ...], float]]


class Exposition(Collector):
    """Reads everything anew at each scrape; nothing is kept up for it in between.

    ``loads``: for each stage what tells its load; set once the stages are there, perhaps after the first scrape.
    """

    def __init__(self, counts: Counts, health: Health) -> None:
        self._counts = counts
        self._health = health
        self.loads: Mapping[str, Callable[[], Load]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return the answer to a scrape, in the format that the Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """Yield every metric of names.py. What Prometheus' client asks for."""
        report = self._health.report()
        yield _gauge(names.INFO, [((version("finetune-worker"),), 1)])
        yield _gauge(names.LIVE, [((), report.live)])
        yield _gauge(names.READY, [((), report.ready)])
        seen = report.stages.items()
        yield _gauge(names.STATE, [((name, each), each == stage.state) for name, stage in seen for each in STATES])
        # While the broker does not answer nobody knows, and a 0 would look like good news.
        known = [(name, stage) for name, stage in seen if stage.state != "unreachable"]
        yield _gauge(names.BEHIND, [((name,), stage.behind) for name, stage in known])
        yield from self._of_loads()
        yield from self._of_stages()
        yield from self._of_the_worker()

    def _of_loads(self) -> Iterator[Family]:
        loads = [((name,), load()) for name, load in self.loads.items()]
        yield _counter(names.TAKEN_IN, [(stage, load.taken) for stage, load in loads])
        yield _gauge(names.UNFINISHED, [(stage, load.unfinished) for stage, load in loads])
        yield _gauge(names.LANE_DEPTH, [(stage, load.in_lanes) for stage, load in loads])
        yield _gauge(names.WAITING, [(stage, load.waiting) for stage, load in loads])
        yield _gauge(names.OVERDUE, [(stage, load.overdue_seconds) for stage, load in loads])
        yield _gauge(
            names.PAUSED, [((*stage, why), load.paused.get(why, 0)) for stage, load in loads for why in PAUSE_REASONS]
        )

    def _of_stages(self) -> Iterator[Family]:
        stages = self._counts.stages.items()
        yield _histogram(names.HANDLING, [((name,), stage.handling) for name, stage in stages])
        yield _counter(names.POSTPONED, [((name,), stage.postponed) for name, stage in stages])
        for metric, counts in (
            (names.EVENTS, [(name, stage.outcomes) for name, stage in stages]),
            (names.RETRIES, [(name, stage.retries) for name, stage in stages]),
            (names.DEAD_LETTERS, [(name, stage.dead_letters) for name, stage in stages]),
            (names.RECEIPTS, [(name, stage.receipts) for name, stage in stages]),
        ):
            yield _counter(metric, [((name, key), count) for name, counted in counts for key, count in counted.items()])

    def _of_the_worker(self) -> Iterator[Family]:
        publishing = self._counts.publishing
        yield _counter(names.PUBLISHED, [((topic,), count) for topic, count in publishing.published.items()])
        yield _histogram(names.PUBLISHING, [((), publishing.seconds)])
        yield _counter(names.PUBLISH_FAILURES, [((), publishing.failures)])
        yield _counter(names.SUBMITS, self._counts.submits.items())


def _gauge(metric: Metric, rows: Rows) -> Family:
    family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _counter(metric: Metric, rows: Rows) -> Family:
    family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, rows: Iterable[tuple[tuple[str, ...], Timing]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, timing in rows:
        bounds = [*map(floatToGoString, BOUNDS), "+Inf"]
        buckets = list(zip(bounds, accumulate(timing.buckets), strict=True))
        family.add_metric(labels, buckets, timing.total)
    return family
