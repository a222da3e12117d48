"""What a scrape says: every metric there is, as the typed file and docs/METRICS.md have it."""

import re
from collections.abc import Mapping

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.deployment import ROOT
from tests.fakes.clock import ManualClock
from worker.delivery.standing import Load, Look
from worker.health import STATES, Health
from worker.metrics.counts import BOUNDS, Counts
from worker.metrics.exposition import Exposition
from worker.metrics.names import METRICS, Metric

LOAD = Load(taken=7, unfinished=3, in_lanes=1, waiting=2, overdue_seconds=4.5)
LOOK = Look(untaken=5, taken=7, unfinished=3, in_lanes=1, held_back=6)


async def _exposition() -> Exposition:
    """Return an exposition in which everything was counted."""
    counts, health = Counts(), Health(ManualClock(), stuck_seconds=60)
    health.phase = "running"

    async def look() -> Look:
        return LOOK

    await health.look_at("a", look)
    stage = counts.stage("a")
    stage.outcomes["done"] = 3
    stage.handling.observe(0.002)
    stage.handling.observe(10_000)
    stage.retries["transient"] = 4
    stage.postponed = 5
    stage.dead_letters["bug"] = 6
    stage.receipts["found"] = 8
    counts.publishing.published["task.status"] = 9
    counts.publishing.seconds.observe(1)
    counts.publishing.failures = 10
    counts.submits["local", "accepted"] = 11
    exposition = Exposition(counts, health)
    exposition.loads = {"a": lambda: LOAD}
    return exposition


def _samples(exposition: Exposition) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = exposition.scrape("")
    samples: list[Sample] = [
        each for family in text_string_to_metric_families(body.decode()) for each in family.samples
    ]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}


def _value(exposition: Exposition, name: str, labels: Mapping[str, str]) -> float:
    return _samples(exposition)[f"finetune_worker_{name}", frozenset(labels.items())]


async def test_a_scrape_has_every_metric_with_its_type_labels_and_meaning_and_no_other() -> None:
    body, content_type = (await _exposition()).scrape("")
    assert content_type.startswith("text/plain")
    found = {family.name: family for family in text_string_to_metric_families(body.decode())}
    ours = {name for name in found if not name.startswith("process_")}
    # A counter's family has its name without the suffix.
    assert ours == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = found[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)
        assert {frozenset(sample.labels) - {"le"} for sample in family.samples} == {frozenset(metric.labels)}


async def test_openmetrics_is_answered_to_who_asks_for_it() -> None:
    body, content_type = (await _exposition()).scrape("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    assert len(list(families)) > len(METRICS)


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("ready", {}, 1),
        ("live", {}, 1),
        ("records_behind", {"stage": "a"}, LOOK.untaken + LOOK.held_back),
        ("records_taken_in_total", {"stage": "a"}, LOAD.taken),
        ("records_unfinished", {"stage": "a"}, LOAD.unfinished),
        ("lane_depth", {"stage": "a"}, LOAD.in_lanes),
        ("records_waiting", {"stage": "a"}, LOAD.waiting),
        ("oldest_overdue_seconds", {"stage": "a"}, LOAD.overdue_seconds),
        ("events_total", {"stage": "a", "outcome": "done"}, 3),
        ("retries_total", {"stage": "a", "meaning": "transient"}, 4),
        ("postponed_total", {"stage": "a"}, 5),
        ("dead_letters_total", {"stage": "a", "reason": "bug"}, 6),
        ("receipts_total", {"stage": "a", "result": "found"}, 8),
        ("published_total", {"topic": "task.status"}, 9),
        ("publish_failures_total", {}, 10),
        ("submits_total", {"executor": "local", "result": "accepted"}, 11),
        ("handling_seconds_count", {"stage": "a"}, 2),
        ("handling_seconds_sum", {"stage": "a"}, 10_000.002),
        ("handling_seconds_bucket", {"stage": "a", "le": "0.001"}, 0),
        ("handling_seconds_bucket", {"stage": "a", "le": "0.0025"}, 1),
        ("handling_seconds_bucket", {"stage": "a", "le": str(BOUNDS[-1])}, 1),
        ("handling_seconds_bucket", {"stage": "a", "le": "+Inf"}, 2),
        ("publish_seconds_bucket", {"le": "1.0"}, 1),
    ],
)
async def test_a_figure_is_where_it_belongs(name: str, labels: dict[str, str], value: float) -> None:
    assert _value(await _exposition(), name, labels) == value


async def test_a_stage_is_in_one_state_of_all_there_are() -> None:
    exposition = await _exposition()
    states = {state: _value(exposition, "stage_state", {"stage": "a", "state": state}) for state in STATES}
    assert states == {state: float(state == "working") for state in STATES}


async def test_while_kafka_does_not_answer_nobody_knows_how_far_behind_it_is() -> None:
    counts, health = Counts(), Health(ManualClock(), stuck_seconds=60)

    async def look() -> Look:
        raise OSError("down")

    await health.look_at("a", look)
    exposition = Exposition(counts, health)
    assert _value(exposition, "stage_state", {"stage": "a", "state": "unreachable"}) == 1
    assert not [name for name, _ in _samples(exposition) if name == "finetune_worker_records_behind"]


def test_a_worker_that_has_not_joined_yet_can_be_scraped() -> None:
    exposition = Exposition(Counts(), Health(ManualClock(), stuck_seconds=60))
    assert _value(exposition, "ready", {}) == 0
    assert _value(exposition, "publish_failures_total", {}) == 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_is_as_prometheus_wants_it(metric: Metric) -> None:
    assert metric.name.startswith("finetune_worker_")
    assert re.fullmatch("[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert metric.meaning.endswith(".")


def test_no_name_is_given_twice() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_documentation_says_the_same_of_each() -> None:
    rows = [line for line in (ROOT / "docs/METRICS.md").read_text().splitlines() if line.startswith("| `finetune_")]
    assert rows == [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.meaning} |"
        for metric in METRICS
    ]
