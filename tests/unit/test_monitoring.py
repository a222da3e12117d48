"""Alert rules, dashboard, scaling: every query is PromQL about metrics that exist, with labels that they have."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from typing import Any, NamedTuple

import promql_parser
import pytest

from tests.deployment import ROOT, services, yaml_of
from worker.metrics.names import METRICS

RULES = "deploy/prometheus/alerts.yml"
SCALING = "deploy/kubernetes/components/autoscaling/scaled-object.yaml"
#: What Prometheus adds to each series of a target.
TARGET = {"job", "instance"}
#: Metrics that are not ours: Prometheus' own of each target, and its client's of each process.
FOREIGN = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}


class Selector(NamedTuple):
    """A metric that a query names, with the labels it is chosen by."""

    name: str
    labels: frozenset[str]


def _series() -> dict[str, frozenset[str]]:
    """Return the name of every series there can be, with its labels."""
    found = dict.fromkeys(FOREIGN, frozenset(TARGET))
    for metric in METRICS:
        labels = frozenset(metric.labels) | TARGET
        if metric.kind == "histogram":
            found |= {f"{metric.name}_bucket": labels | {"le"}}
            found |= {f"{metric.name}_{suffix}": labels for suffix in ("sum", "count")}
        else:
            found[metric.name] = labels
    return found


def _looked_at(query: str) -> tuple[list[Selector], set[str]]:
    """Return the selectors of a query, and the labels it groups by."""
    selectors: list[Selector] = []
    grouped: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            selectors.append(Selector(str(node.name), frozenset(each.name for each in node.matchers.matchers)))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            grouped.update(node.modifier.labels)

    # What Grafana fills in before it asks.
    promql_parser.walk(promql_parser.Expr.parse(query.replace("$__rate_interval", "5m")), visit)
    return selectors, grouped


def _dashboard() -> dict[str, Any]:
    return json.loads((ROOT / "deploy/grafana/dashboards/worker.json").read_text())  # type: ignore[no-any-return]


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml_of(RULES)["groups"] for rule in group["rules"]]


def _targets() -> list[tuple[str, dict[str, Any]]]:
    return [(panel["title"], target) for panel in _dashboard()["panels"] for target in panel["targets"]]


QUERIES = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in _rules()},
    **{f"panel {title} {target['refId']}": target["expr"] for title, target in _targets()},
    **{
        f"scaling {at}": trigger["metadata"]["query"] for at, trigger in enumerate(yaml_of(SCALING)["spec"]["triggers"])
    },
}


def wrong_with(query: str, legend: str = "") -> list[str]:
    """Return what a query names that there is not."""
    series = _series()
    selectors, grouped = _looked_at(query)
    wrong = [each.name for each in selectors if each.name not in series]
    known = [each for each in selectors if each.name in series]
    wrong += [f"{each.name}.{label}" for each in known for label in each.labels - series[each.name]]
    labels = frozenset().union(*(series[each.name] for each in known)) if known else frozenset()
    shown = set(re.findall(r"{{ *(?:\$labels\.)?(\w+) *}}", legend))
    return wrong + sorted((grouped | shown) - labels)


@pytest.mark.parametrize("what", QUERIES)
def test_a_query_asks_for_metrics_and_labels_that_there_are(what: str) -> None:
    assert wrong_with(QUERIES[what]) == []


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("finetune_worker_records_behint", ["finetune_worker_records_behint"]),
        ("rate(finetune_worker_handling_seconds[5m])", ["finetune_worker_handling_seconds"]),
        ('finetune_worker_ready{stage="a"}', ["finetune_worker_ready.stage"]),
        ("sum by (outcome) (rate(finetune_worker_retries_total[5m]))", ["outcome"]),
        ("max(finetune_worker_ready) > finetune_worker_liv", ["finetune_worker_liv"]),
    ],
)
def test_a_slip_in_a_query_is_seen(query: str, wrong: list[str]) -> None:
    assert wrong_with(query) == wrong


def test_every_metric_of_ours_is_looked_at_somewhere() -> None:
    asked = {selector.name for query in QUERIES.values() for selector in _looked_at(query)[0]}
    unasked = {
        metric.name
        for metric in METRICS
        if not asked & {metric.name, *(f"{metric.name}_{suffix}" for suffix in ("bucket", "sum", "count"))}
    }
    # Which version runs, and what the orchestrator looks at: nobody watches a curve of those.
    assert unasked == {"finetune_worker_info", "finetune_worker_live"}


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "remedy"}
    for text in rule["annotations"].values():
        assert wrong_with(rule["expr"], text) == []


@pytest.mark.parametrize("target", [target for _, target in _targets()], ids=lambda target: target["expr"])
def test_a_legend_names_labels_that_its_query_has(target: dict[str, Any]) -> None:
    assert wrong_with(target["expr"], target["legendFormat"]) == []


def test_every_alert_has_a_test() -> None:
    tested = {
        case["alertname"]
        for test in yaml_of("deploy/prometheus/alerts.test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tested == {rule["alert"] for rule in _rules()}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool comes with Prometheus, in no Python package")
@pytest.mark.parametrize(
    "command",
    [("check", "config", "deploy/prometheus/prometheus.yml"), ("test", "rules", RULES.replace(".", ".test."))],
)
def test_prometheus_itself_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    said = subprocess.run(["promtool", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_dashboard_is_where_grafana_looks_for_it_and_asks_the_source_there_is() -> None:
    (provider,) = yaml_of("deploy/grafana/provisioning/dashboards/files.yml")["providers"]
    mounted = dict(volume.split(":")[1::-1] for volume in services()["grafana"]["volumes"] if volume.startswith("."))
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"
    (source,) = yaml_of("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    asked = [{"type": source["type"], "uid": source["uid"]}]
    assert [each["datasource"] for each in _dashboard()["panels"]] == asked * len(_dashboard()["panels"])
    assert all(target["datasource"] == asked[0] for _, target in _targets())


def test_its_panels_are_told_apart_and_lie_beside_each_other() -> None:
    panels = _dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels) <= 24


def test_its_variables_are_declared() -> None:
    used = set(re.findall(r"\$(\w+)", " ".join(QUERIES.values()))) - {"__rate_interval"}
    declared = _dashboard()["templating"]["list"]
    assert used == {variable["name"] for variable in declared}
    for variable in declared:
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert asked
        assert asked[2] in _series()[asked[1]]
