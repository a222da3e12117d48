"""Contract tests: what is sent to Kubernetes is what its published schemas, and Kubeflow's models, allow to the letter.

No cluster has seen it.
"""

from typing import Any

import kubernetes_validate
import pytest
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import TrainerV1alpha1TrainJob

from handlers.ports.jobs import JobSpec, Resources
from worker.executors.kubernetes_manifest import (
    PodSettings,
    cancel_patch,
    job_manifest,
    pod_grace,
    train_job_manifest,
)
from worker.executors.remote import engine_name, trainer_environment
from worker.settings import Settings

pytestmark = pytest.mark.contract

#: The oldest that is still supported by some vendor, and the newest that is published.
VERSIONS = ["1.29", "1.37"]
SETTINGS = Settings(kafka_bootstrap_servers="kafka:9092", kafka_password="planted", storage_url="s3://bucket")
MORE = {
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "volumes": [{"name": "cache", "emptyDir": {"medium": "Memory"}}],
    "containers": [
        {
            "name": "any",
            "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            "resources": {"requests": {"cpu": "8"}, "limits": {"memory": "64Gi"}},
        }
    ],
    "restartPolicy": "Always",
}
PODS = PodSettings(image="registry/trainer:1", grace_seconds=29.5, keep_seconds=60, secret="bucket-keys", more=MORE)


def spec(**resources: Any) -> JobSpec:
    return JobSpec(
        job_id="任务 7/x", task_id="t", attempt=2, plan_key="p", attempt_prefix="a/", resources=Resources(**resources)
    )


def job(wanted: JobSpec, pods: PodSettings = PODS) -> dict[str, Any]:
    name = engine_name("prod/eu", wanted.job_id, wanted.attempt)
    return job_manifest("prod/eu", name, wanted, trainer_environment(SETTINGS, wanted), pods)


def train_job(wanted: JobSpec) -> dict[str, Any]:
    name = engine_name("prod/eu", wanted.job_id, wanted.attempt)
    return train_job_manifest("prod/eu", name, wanted, trainer_environment(SETTINGS, wanted), PODS)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("resources", [{}, {"gpus": 8}, {"gpus": 1, "time_limit_seconds": 3600}])
@pytest.mark.parametrize("pods", [PODS, PodSettings(image="i", grace_seconds=30)])
def test_a_job_is_by_the_published_schema(version: str, resources: dict[str, Any], pods: PodSettings) -> None:
    kubernetes_validate.validate(job(spec(**resources), pods), version, strict=True)


def test_the_schema_would_refuse_a_slip() -> None:
    wrong = job(spec())
    wrong["spec"]["backOffLimit"] = wrong["spec"].pop("backoffLimit")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_a_patched_job_is_by_the_schema_too() -> None:
    patched = job(spec())
    patch = cancel_patch("Job", 30)
    patched["metadata"]["annotations"] |= patch["metadata"]["annotations"]
    patched["spec"] |= patch["spec"]
    kubernetes_validate.validate(patched, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("resources", [{"nodes": 2}, {"nodes": 4, "gpus": 8, "time_limit_seconds": 60}])
def test_a_train_job_is_what_the_published_models_read(resources: dict[str, Any]) -> None:
    sent = train_job(spec(**resources))
    # They drop what they do not know without a word.
    assert TrainerV1alpha1TrainJob.from_dict(sent).to_dict() == sent  # type: ignore[union-attr, unused-ignore]
    patched = {**sent, "spec": {**sent["spec"], **cancel_patch("TrainJob", 30)["spec"]}}
    assert TrainerV1alpha1TrainJob.from_dict(patched).to_dict() == patched  # type: ignore[union-attr, unused-ignore]


def test_a_train_job_has_no_more_variables_than_it_may() -> None:
    assert len(train_job(spec(nodes=2))["spec"]["trainer"]["env"]) <= 128


def test_a_job_runs_once_with_what_it_asked_for() -> None:
    sent = job(spec(gpus=2, time_limit_seconds=3600))["spec"]
    pod = sent["template"]["spec"]
    assert (sent["backoffLimit"], sent["activeDeadlineSeconds"], sent["ttlSecondsAfterFinished"]) == (0, 3600, 60)
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 30)
    [container] = pod["containers"]
    assert container["resources"] == {"requests": {"cpu": "8"}, "limits": {"memory": "64Gi", "nvidia.com/gpu": "2"}}
    assert container["command"] == ["python", "-m", "worker.trainer"]
    assert container["envFrom"] == [{"secretRef": {"name": "bucket-keys"}}]
    # What the operator's file has besides stays.
    assert container["volumeMounts"] == MORE["containers"][0]["volumeMounts"]  # type: ignore[index]
    assert pod["tolerations"] == MORE["tolerations"]


def test_a_train_job_says_what_each_node_has() -> None:
    sent = train_job(spec(nodes=4, gpus=8, time_limit_seconds=60))["spec"]
    assert sent["activeDeadlineSeconds"] == 60
    assert sent["trainer"]["numNodes"] == 4
    assert sent["trainer"]["resourcesPerNode"] == {"limits": {"nvidia.com/gpu": "8"}}


def test_no_secret_is_in_what_the_namespace_can_read() -> None:
    assert "planted" not in str(job(spec()))
    assert "planted" not in str(train_job(spec(nodes=2)))


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (0.2, 1), (30, 30), (30.1, 31)])
def test_a_pod_is_never_forgotten_before_it_ended(asked: float, given: int) -> None:
    assert pod_grace(asked) == given
