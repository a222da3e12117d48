"""What Kubernetes' word on a job and its pods means. Pure: no I/O."""

from collections.abc import Mapping, Sequence

from lightkube.generic_resource import GenericNamespacedResource
from lightkube.models.core_v1 import ContainerStateTerminated, PodStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from msgspec import Struct

from handlers.ports.jobs import EndCause, JobStatus
from worker.executors.kubernetes_manifest import CANCELLED, CONTAINERS

#: A shell's way to say that a signal ended a process, which containers say too: 128 and the signal.
_SIGNALLED = 128
#: Reasons of a pod's condition DisruptionTarget.
_DISRUPTIONS: Mapping[str, EndCause] = {
    "PreemptionByScheduler": "preempted",
    "EvictionByEvictionAPI": "preempted",
    "DeletionByTaintManager": "node-failed",
    "DeletionByPodGC": "node-failed",
    "TerminationByKubelet": "node-failed",
}


class Seen(Struct, frozen=True):
    """A Job or a TrainJob as far as both are alike. ``conditions`` are those that are true, each with its reason."""

    kind: str
    name: str
    annotations: Mapping[str, str]
    conditions: Mapping[str, str]

    @property
    def ended(self) -> bool:
        """Return whether its controller is done with it."""
        return not self.conditions.keys().isdisjoint(("Complete", "Failed"))


def seen(found: Job | GenericNamespacedResource) -> Seen:
    """Return what counts of a Job, or of a TrainJob, for which lightkube has no model."""
    metadata = found.metadata
    assert metadata is not None  # the API server sends none without
    annotations = metadata.annotations or {}
    if isinstance(found, Job):
        listed = (found.status.conditions if found.status else None) or []
        conditions = {each.type: each.reason or "" for each in listed if each.status == "True"}
        return Seen("Job", metadata.name or "", annotations, conditions)
    told = (found.get("status") or {}).get("conditions") or []
    conditions = {each["type"]: each.get("reason", "") for each in told if each["status"] == "True"}
    return Seen("TrainJob", metadata.name or "", annotations, conditions)


def status_of(job: Seen, pods: Sequence[Pod]) -> JobStatus:
    """Return what is known of a job, given its pods. Kubernetes has no queue to be at a place of."""
    if "Complete" in job.conditions:
        return JobStatus(state="ended", exit_code=0)
    phases = {_status(pod).phase for pod in pods}
    if "Running" in phases:
        # Also while it is being ended: it may save still.
        return JobStatus(state="running")
    if job.ended or CANCELLED in job.annotations:
        return JobStatus(state="ended", exit_code=_exit_code(pods), cause=_cause(job, pods))
    # A pod that is through and is not counted yet is no reason to say that the job waits again.
    return JobStatus(state="running" if phases & {"Succeeded", "Failed"} else "queued")


def _exit_code(pods: Sequence[Pod]) -> int | None:
    """Return how the trainer ended, of several the one that failed; None where no pod is left to tell."""
    codes = [end.exitCode for pod in pods for end in _ends(pod)]
    if not codes:
        return None
    code = next(filter(None, codes), 0)
    return _SIGNALLED - code if code > _SIGNALLED else code


def _cause(job: Seen, pods: Sequence[Pod]) -> EndCause | None:
    """Return why Kubernetes ended a job by itself; None also where nobody tells any more."""
    if CANCELLED in job.annotations:
        return None
    if job.conditions.get("Failed") == "DeadlineExceeded":
        return "time-limit"
    if any(end.reason == "OOMKilled" for pod in pods for end in _ends(pod)):
        return "out-of-memory"
    disruptions = [
        condition.reason or ""
        for pod in pods
        for condition in _status(pod).conditions or []
        if condition.type == "DisruptionTarget" and condition.status == "True"
    ]
    return next((_DISRUPTIONS[reason] for reason in disruptions if reason in _DISRUPTIONS), None)


def _ends(pod: Pod) -> list[ContainerStateTerminated]:
    containers = _status(pod).containerStatuses or []
    states = [container.state for container in containers if container.name in CONTAINERS]
    return [state.terminated for state in states if state and state.terminated]


def _status(pod: Pod) -> PodStatus:
    return pod.status or PodStatus()
