"""deploy/kubernetes: what its pods may do, what they need, how they end, where they answer. No cluster has seen it."""

from collections.abc import Mapping
from typing import Any

import kubernetes_validate
import pytest

from handlers.ports.jobs import JobSpec
from tests import kustomize
from tests.deployment import yaml_of
from tests.kustomize import VERSIONS, container_of, objects, pod_of, settings
from worker.console.settings import ConsoleSettings
from worker.executors.kubernetes_manifest import PodSettings, job_manifest

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not kustomize.possible(), reason="Kustomize, kubectl or Go is needed to render it"),
]

DEPLOYMENTS = ["finetune-worker", "finetune-console"]


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
