"""What Kubernetes' word on a job and its pods means. Pure: no I/O."""

from collections.abc import Mapping, Sequence

from lightkube.generic_resource import GenericNamespacedResource
from lightkube.models.core_v1 import PodStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from msgspec import Struct

from handlers.ports import JobStatus
from worker.executors.kubernetes_manifest import CANCELLED, CONTAINERS

#: A shell's way to say that a signal ended a process, which containers say too: 128 and the signal.
_SIGNALLED = 128


class Seen(Struct, frozen=True):
    """A Job or a TrainJob as far as both are alike. ``conditions`` are those that are true."""

    kind: str
    name: str
    annotations: Mapping[str, str]
    conditions: frozenset[str]

    @property
    def ended(self) -> bool:
        """Return whether its controller is done with it."""
        return not self.conditions.isdisjoint(("Complete", "Failed"))


def seen(found: Job | GenericNamespacedResource) -> Seen:
    """Return what counts of a Job, or of a TrainJob, for which lightkube has no model."""
    metadata = found.metadata
    assert metadata is not None  # the API server sends none without
    if isinstance(found, Job):
        listed = (found.status.conditions if found.status else None) or []
        conditions = frozenset(condition.type for condition in listed if condition.status == "True")
    else:
        told = ((found.get("status") or {}).get("conditions")) or []
        conditions = frozenset(condition["type"] for condition in told if condition["status"] == "True")
    return Seen(
        "Job" if isinstance(found, Job) else "TrainJob", metadata.name or "", metadata.annotations or {}, conditions
    )


def status_of(job: Seen, pods: Sequence[Pod]) -> JobStatus:
    """Return what is known of a job, given its pods. Kubernetes has no queue to be at a place of."""
    if "Complete" in job.conditions:
        return JobStatus(state="ended", exit_code=0)
    phases = {_status(pod).phase for pod in pods}
    if "Running" in phases:
        # Also while it is being ended: it may save still.
        return JobStatus(state="running")
    if job.ended or CANCELLED in job.annotations:
        return JobStatus(state="ended", exit_code=_exit_code(pods))
    # A pod that is through and is not counted yet is no reason to say that the job waits again.
    return JobStatus(state="running" if phases & {"Succeeded", "Failed"} else "queued")


def _exit_code(pods: Sequence[Pod]) -> int | None:
    """Return how the trainer ended, of several the one that failed; None where no pod is left to tell."""
    codes = [
        container.state.terminated.exitCode
        for pod in pods
        for container in _status(pod).containerStatuses or []
        if container.name in CONTAINERS and container.state and container.state.terminated
    ]
    if not codes:
        return None
    code = next(filter(None, codes), 0)
    return _SIGNALLED - code if code > _SIGNALLED else code


def _status(pod: Pod) -> PodStatus:
    return pod.status or PodStatus()
