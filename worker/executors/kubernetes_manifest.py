"""What a training job is to Kubernetes: a batch Job on one node, a TrainJob of Kubeflow on several. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from handlers.ports.jobs import JobSpec
from worker.executors.remote import spec_digest

#: Labels select, annotations tell: a label's value may have neither every character nor every length.
MANAGED_BY, SERVICE, JOB = "app.kubernetes.io/managed-by", "finetune-worker/service", "finetune-worker/job"
OWNER, JOB_ID, ATTEMPT, SPEC_DIGEST, CANCELLED = (
    f"finetune-worker/{name}" for name in ("owner", "job-id", "attempt", "spec", "cancelled")
)
#: Our container, and the part of a Kubeflow runtime that trains, with its container.
CONTAINER, _TRAINING_STEP = "trainer", "node"
CONTAINERS = frozenset({CONTAINER, _TRAINING_STEP})
_GPU = "nvidia.com/gpu"


class PodSettings(Struct, frozen=True, kw_only=True):
    """What every trainer's pod has.

    Args:
        image: with this package and the extra ``trainer``.
        grace_seconds: the longest that a cancelled job may take to save.
        keep_seconds: how long Kubernetes keeps an ended job of one node.
        runtime: Kubeflow's runtime for jobs of several nodes. What of ``secret`` and ``more`` they need is its own.
        secret: a Secret of the namespace, whose keys become environment variables.
        more: more of a pod's spec (tolerations, a node selector, volumes). Its first container is what ours begins as.
        command, command_on_nodes: the trainer on one node, and on each of several.
    """

    image: str
    grace_seconds: float
    keep_seconds: int = 7 * 86_400
    runtime: str = "torch-distributed"
    secret: str | None = None
    more: Mapping[str, Any] = {}
    command: Sequence[str] = ("python", "-m", "worker.trainer")
    command_on_nodes: Sequence[str] = ("torchrun", "-m", "worker.trainer")


def selector(owner: str) -> dict[str, Any]:
    """Return the labels that every object of a service has. Others may have them too: what counts is OWNER."""
    return {MANAGED_BY: "finetune-worker", SERVICE: re.sub(r"[^A-Za-z0-9]+", "-", owner)[:63].strip("-")}


def job_manifest(
    owner: str, name: str, spec: JobSpec, environment: Mapping[str, str], pod: PodSettings
) -> dict[str, Any]:
    """Return the batch Job for a job on one node. It never starts a second pod after one that failed."""
    deadline = {"activeDeadlineSeconds": limit} if (limit := spec.resources.time_limit_seconds) else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(owner, name, spec),
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": pod.keep_seconds,
            **deadline,
            "template": {
                "metadata": {"labels": _labels(owner, name)},
                "spec": _pod_spec(spec, environment, pod),
            },
        },
    }


def train_job_manifest(
    owner: str, name: str, spec: JobSpec, environment: Mapping[str, str], pod: PodSettings
) -> dict[str, Any]:
    """Return Kubeflow's TrainJob for a job on several nodes. Its runtime says what else its pods have."""
    deadline = {"activeDeadlineSeconds": limit} if (limit := spec.resources.time_limit_seconds) else {}
    template = {
        "metadata": {"labels": _labels(owner, name)},
        "spec": {"terminationGracePeriodSeconds": _whole(pod.grace_seconds)},
    }
    step = {"name": _TRAINING_STEP, "template": {"spec": {"template": template}}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": _metadata(owner, name, spec),
        "spec": {
            "runtimeRef": {"name": pod.runtime},
            **deadline,
            "trainer": {
                "image": pod.image,
                "command": list(pod.command_on_nodes),
                "env": _variables(environment),
                "numNodes": spec.resources.nodes,
                "resourcesPerNode": _resources(spec),
            },
            "runtimePatches": [
                {
                    "manager": "finetune-worker/executor",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [step]}}},
                }
            ],
        },
    }


def cancel_patch(kind: str, grace_seconds: float) -> dict[str, Any]:
    """Return the merge patch after which a job starts no pod and ends those it has, and stays to be asked about.

    A batch Job is over when its deadline is; a TrainJob's deadline cannot be changed, but it can be suspended.
    """
    change: dict[str, Any] = {"activeDeadlineSeconds": 1} if kind == "Job" else {"suspend": True}
    return {"metadata": {"annotations": {CANCELLED: f"{grace_seconds:g}"}}, "spec": change}


def pod_grace(grace_seconds: float) -> int:
    """Return the whole seconds a pod gets. At least 1: with 0 Kubernetes forgets a pod before it has ended."""
    return max(1, _whole(grace_seconds))


def _metadata(owner: str, name: str, spec: JobSpec) -> dict[str, Any]:
    return {
        "name": name,
        "labels": _labels(owner, name),
        "annotations": {
            OWNER: owner,
            JOB_ID: spec.job_id,
            ATTEMPT: str(spec.attempt),
            SPEC_DIGEST: spec_digest(spec),
        },
    }


def _labels(owner: str, name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": CONTAINER, **selector(owner), JOB: name}


def _pod_spec(spec: JobSpec, environment: Mapping[str, str], pod: PodSettings) -> dict[str, Any]:
    secret = {"envFrom": [{"secretRef": {"name": pod.secret}}]} if pod.secret else {}
    begun: Mapping[str, Any] = (pod.more.get("containers") or [{}])[0]
    return {
        # The trainer asks nothing of the cluster.
        "automountServiceAccountToken": False,
        **pod.more,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _whole(pod.grace_seconds),
        "containers": [
            {
                **begun,
                "name": CONTAINER,
                "image": pod.image,
                "command": list(pod.command),
                "env": [*begun.get("env", []), *_variables(environment)],
                **secret,
                "resources": _resources(spec, begun.get("resources")),
            }
        ],
    }


def _resources(spec: JobSpec, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    resources = dict(base or {})
    if spec.resources.gpus:
        resources["limits"] = {**resources.get("limits", {}), _GPU: str(spec.resources.gpus)}
    return resources


def _variables(environment: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(environment.items())]


def _whole(seconds: float) -> int:
    return math.ceil(seconds)
