"""deploy/kubernetes: what Kustomize makes of it is by the published schemas, and fits the worker's own settings.

No cluster has seen it. Of objects for KEDA and the Prometheus Operator only what they say of ours is looked at.
"""

from typing import Any

import kubernetes_validate
import msgspec
import pytest

from contracts.topics import TOPICS
from deploy.prometheus import operator
from tests import kustomize
from tests.deployment import yaml_of
from tests.kustomize import VERSIONS, config, container_of, objects, pod_of, settings
from worker.catalog.executors import load_placement
from worker.settings import Settings

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not kustomize.possible(), reason="Kustomize, kubectl or Go is needed to render it"),
]

FOREIGN = {"ScaledObject", "PodMonitor", "PrometheusRule"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["base", "example"])
def test_every_object_is_by_the_published_schema(version: str, folder: str) -> None:
    kinds = set()
    for each in kustomize.rendered(folder):
        kinds.add(each["kind"])
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, version, strict=True)
    assert {"Deployment", "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount", "ConfigMap"} <= kinds


def test_the_schema_would_refuse_a_slip() -> None:
    wrong = msgspec.json.decode(msgspec.json.encode(objects("Deployment")["finetune-worker"]))
    pod = wrong["spec"]["template"]["spec"]
    pod["terminationGracePeriod"] = pod.pop("terminationGracePeriodSeconds")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_everything_is_in_one_namespace() -> None:
    assert {each["metadata"].get("namespace") for each in kustomize.rendered("example")} == {None, "finetune"}
    [namespace] = objects("Namespace")
    assert namespace == "finetune"


def test_each_variable_is_a_setting_and_each_file_it_names_is_mounted() -> None:
    given = config("worker-settings")
    assert Settings.unknown(given) == []
    read = settings()
    assert str(read.work_dir) == "/work"
    mounted = {
        f"{mount['mountPath']}/{name}"
        for mount in container_of("finetune-worker")["volumeMounts"]
        if mount["name"] == "files"
        for name in config("worker-files")
    }
    assert {str(read.executors_file), str(read.kubernetes_pod_file)} == mounted


def test_tasks_run_on_the_cluster(tmp_path: Any) -> None:
    # The executor `local` serves one machine: a second worker would be refused.
    rules = tmp_path / "executors.toml"
    rules.write_text(config("worker-files")["executors.toml"])
    placed = load_placement(msgspec.structs.replace(settings(), executors_file=rules))
    assert set(placed.names) == {"kubernetes"}
    assert settings().kubernetes_image


def test_a_rolling_update_and_a_node_s_drain_take_one_worker_at_a_time() -> None:
    worker = objects("Deployment")["finetune-worker"]["spec"]
    assert worker["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert worker["minReadySeconds"] > 0
    budget = objects("PodDisruptionBudget")["finetune-worker"]["spec"]
    assert budget["maxUnavailable"] < worker["replicas"]
    assert budget["selector"] == worker["selector"]
    assert worker["selector"]["matchLabels"].items() <= worker["template"]["metadata"]["labels"].items()


def test_only_workers_may_ask_the_cluster_for_anything() -> None:
    [binding] = objects("RoleBinding").values()
    assert [subject["name"] for subject in binding["subjects"]] == [pod_of("finetune-worker")["serviceAccountName"]]
    assert pod_of("finetune-console")["automountServiceAccountToken"] is False
    assert not any(objects(kind) for kind in ("ClusterRole", "ClusterRoleBinding"))


def test_prometheus_finds_the_workers() -> None:
    monitor = objects("PodMonitor")["finetune-worker"]["spec"]
    assert monitor["selector"] == objects("Deployment")["finetune-worker"]["spec"]["selector"]
    [endpoint] = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    # Rules and dashboard ask for the job by its name.
    [scraped] = yaml_of("deploy/prometheus/prometheus.yml")["scrape_configs"]
    assert endpoint["relabelings"] == [{"action": "replace", "targetLabel": "job", "replacement": scraped["job_name"]}]


def test_prometheus_judges_them_by_the_alert_rules() -> None:
    assert operator.FILE.read_text() == operator.derived(), "make manifests"
    assert objects("PrometheusRule")["finetune-worker"]["spec"] == yaml_of("deploy/prometheus/alerts.yml")


def test_there_are_never_more_workers_than_partitions_nor_fewer_than_may_be_missing() -> None:
    scaled = objects("ScaledObject")["finetune-worker"]["spec"]
    worker = objects("Deployment")[scaled["scaleTargetRef"]["name"]]["spec"]
    assert scaled["maxReplicaCount"] <= min(topic.partitions for topic in TOPICS.values())
    assert scaled["minReplicaCount"] == scaled["fallback"]["replicas"] == worker["replicas"]


def test_no_secret_is_in_what_is_rendered() -> None:
    assert objects("Secret") == {}
    named = ("PASSWORD", "SECRET_ACCESS", "TOKEN")
    assert not [name for name in config("worker-settings") if any(word in name for word in named)]
