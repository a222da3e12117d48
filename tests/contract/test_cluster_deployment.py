"""deploy/kubernetes: what Kustomize makes of it is by the published schemas, and fits the worker's own settings.

No cluster has seen it. Of objects for KEDA and the Prometheus Operator only what they say of ours is looked at.
"""

from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from contracts.topics import TOPICS
from deploy.prometheus import operator
from handlers.ports import JobSpec
from tests import kustomize
from tests.deployment import yaml_of
from worker.catalog.executors import load_placement
from worker.console.settings import ConsoleSettings
from worker.executors.kubernetes_manifest import PodSettings, job_manifest
from worker.settings import Settings

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not kustomize.possible(), reason="Kustomize, kubectl or Go is needed to render it"),
]

#: The oldest that is still supported by some vendor, and the newest that is published.
VERSIONS = ["1.29", "1.37"]
FOREIGN = {"ScaledObject", "PodMonitor", "PrometheusRule"}
DEPLOYMENTS = ["finetune-worker", "finetune-console"]


def objects(kind: str, folder: str = "example") -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in kustomize.rendered(folder) if each["kind"] == kind}


def pod_of(deployment: str) -> dict[str, Any]:
    pod: dict[str, Any] = objects("Deployment")[deployment]["spec"]["template"]["spec"]
    return pod


def container_of(deployment: str) -> dict[str, Any]:
    [container] = pod_of(deployment)["containers"]
    return dict(container)


def config(name: str) -> dict[str, str]:
    """Return what a ConfigMap holds whose name ends in a digest."""
    [found] = [each["data"] for made, each in objects("ConfigMap").items() if made.rpartition("-")[0] == name]
    return dict(found)


def settings() -> Settings:
    return Settings.from_environment(config("worker-settings"))


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


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_has_no_rights_on_its_node(deployment: str) -> None:
    assert unrestricted(pod_of(deployment)) == []


def trainer_pod() -> dict[str, Any]:
    more = yaml_of("deploy/kubernetes/base/trainer-pod.yaml")
    wanted = JobSpec(job_id="j", task_id="t", attempt=1, plan_key="p", attempt_prefix="a/")
    job = job_manifest("owner", "name", wanted, {}, PodSettings(image="i", grace_seconds=30, secret="s", more=more))
    for version in VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def test_a_trainer_s_pod_is_let_into_the_namespace_and_has_no_rights_on_its_node() -> None:
    [namespace] = objects("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = trainer_pod()
    assert unrestricted(pod) == []
    assert pod["automountServiceAccountToken"] is False


def unrestricted(pod: Mapping[str, Any]) -> list[str]:
    """Return what of a pod is more than the profile `restricted` allows, and what it could write to besides volumes."""
    wrong = []
    if not pod["securityContext"]["runAsNonRoot"] or pod["securityContext"]["runAsUser"] != 10001:
        wrong.append("user")
    if pod["securityContext"]["seccompProfile"] != {"type": "RuntimeDefault"}:
        wrong.append("seccomp")
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    wrong += sorted(kinds - {"emptyDir", "configMap"})
    for container in pod["containers"]:
        context = container["securityContext"]
        allowed = {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        wrong += [name for name, value in allowed.items() if context.get(name) != value]
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        wrong += sorted({"/work", "/tmp"} - writable)  # noqa: S108 - a container's own
    return wrong


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_pod_says_what_it_needs(deployment: str) -> None:
    resources = container_of(deployment)["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert "memory" in resources["limits"]
    assert "cpu" not in resources["limits"], "it would slow heartbeats"


def test_a_worker_has_longer_to_stop_than_it_takes_to_drain_and_leave_its_groups() -> None:
    assert pod_of("finetune-worker")["terminationGracePeriodSeconds"] >= settings().drain_seconds + 20


def test_the_console_goes_on_serving_until_nobody_is_sent_to_it() -> None:
    pod, container = pod_of("finetune-console"), container_of("finetune-console")
    *command, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["sleep"]
    assert pod["terminationGracePeriodSeconds"] > int(pause) + 3


def test_probes_ask_where_the_worker_answers() -> None:
    container = container_of("finetune-worker")
    assert container["args"] == ["run"]
    assert container["ports"] == [{"name": "http", "containerPort": settings().health_port}]
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {each["port"] for each in asked.values()} == {"http"}
    assert {kind: each["path"] for kind, each in asked.items()} == {
        "startup": "/live", "liveness": "/live", "readiness": "/ready",
    }  # fmt: skip


def test_the_service_leads_to_where_the_console_listens() -> None:
    container = container_of("finetune-console")
    assert container["args"] == ["console"]
    console = ConsoleSettings.from_environment({each["name"]: each["value"] for each in container["env"]})
    assert not console.local
    assert container["ports"] == [{"name": "http", "containerPort": console.port}]
    service = objects("Service")["finetune-console"]["spec"]
    labels = objects("Deployment")["finetune-console"]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert [port["targetPort"] for port in service["ports"]] == ["http"]


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
