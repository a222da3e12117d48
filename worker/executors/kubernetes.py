"""The Kubernetes executor: training jobs as batch Jobs, and on several nodes as TrainJobs of Kubeflow.

Needs the extra ``kubernetes``. Written to what Kubernetes documents and tested against that alone: no test of ours has
met a real cluster.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx2
import msgspec
import yaml
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType, PatchType

from handlers.errors import Unavailable
from handlers.ports.jobs import JobListed, JobSpec, JobStatus
from worker.executors.job_log import LOG_BYTES, whole_text
from worker.executors.kubernetes_manifest import (
    ATTEMPT,
    CONTAINERS,
    JOB,
    JOB_ID,
    OWNER,
    SPEC_DIGEST,
    PodSettings,
    cancel_patch,
    job_manifest,
    pod_grace,
    selector,
    train_job_manifest,
)
from worker.executors.kubernetes_state import Seen, seen, status_of
from worker.executors.namespace import namespace_of
from worker.executors.remote import engine_name, spec_digest, trainer_environment
from worker.settings import Settings, SettingsError

REQUEST_SECONDS = 30.0

TrainJob = create_namespaced_resource("trainer.kubeflow.org", "v1alpha1", "TrainJob", "trainjobs")
Kind = type[Job] | type[GenericNamespacedResource]
#: A job is one or the other by its spec, which the methods that ask after it do not have.
_KINDS: Mapping[str, Kind] = {"Job": Job, "TrainJob": TrainJob}
BAD_REQUEST, NOT_FOUND, CONFLICT, INVALID = 400, 404, 409, 422

Answer = TypeVar("Answer")


class KubernetesExecutor:
    """An Executor whose jobs are Kubernetes' own. Deployments with different ``owner`` may share a namespace.

    Where Kubeflow's Trainer is not installed, jobs of several nodes cannot be submitted. There is no queue position.
    The grace of ``cancel`` is that of the pods at most. A job whose pods are gone has no exit code, but stays known
    until its ``keep_seconds`` are over or it is forgotten; a TrainJob until it is forgotten. Kubernetes may in rare
    cases start a job's pod twice; trainers are fenced by attempt.

    Args:
        client: of lightkube, with the jobs' namespace; this object closes it.
        environment: what a job is told, its spec included; the namespace's readers see it: no secrets.
        owner: tells apart the deployments that share a namespace.
        pods: what every trainer's pod has.
    """

    name = "kubernetes"

    def __init__(
        self,
        client: AsyncClient,
        environment: Callable[[JobSpec], Mapping[str, str]],
        *,
        owner: str,
        pods: PodSettings,
    ) -> None:
        self._client = client
        self._environment = environment
        self._owner = owner
        self._pods = pods

    async def submit(self, spec: JobSpec) -> None:
        """Create the job's object. See Executor."""
        name = engine_name(self._owner, spec.job_id, spec.attempt)
        kind, manifest = (TrainJob, train_job_manifest) if spec.resources.nodes > 1 else (Job, job_manifest)
        wanted: Any = kind.from_dict(manifest(self._owner, name, spec, self._environment(spec), self._pods))
        if await _answer(self._client.create(wanted), CONFLICT) is not None:
            return
        known = await self._get(kind, name)
        if known is None:
            raise Unavailable(f"{name} was there, and is gone: it may be submitted again")
        if known.annotations.get(SPEC_DIGEST) != spec_digest(spec):
            raise ValueError(f"job {spec.job_id} attempt {spec.attempt} was submitted with another spec")

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what the job's object and its pods tell. See Executor."""
        job = await self._find(job_id, attempt)
        return JobStatus(state="unknown") if job is None else status_of(job, await self._pods_of(job.name))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end. See Executor; once this returns it ends, even if every worker dies.

        A worker that dies in between may leave a grace that is the pods' own.
        """
        job = await self._find(job_id, attempt)
        if job is None or job.ended:
            return
        patch = cancel_patch(job.kind, grace_seconds)
        kind = _KINDS[job.kind]
        await _answer(self._client.patch(kind, job.name, patch, patch_type=PatchType.MERGE), NOT_FOUND)
        for pod in await self._pods_of(job.name):
            await _answer(self._client.delete(Pod, _name(pod), grace_period=pod_grace(grace_seconds)), NOT_FOUND)

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job's first pod printed from byte ``cursor`` on, 1 MiB at most, and the byte to go on from.

        A line is there when it is whole. What a kubelet has rotated away is gone, and all of it with the pod.
        """
        job = await self._find(job_id, attempt)
        pods = [] if job is None else sorted(await self._pods_of(job.name), key=_name)
        if job is None or not pods:
            return "", cursor
        # Kubernetes refuses with 400 where the container has not started.
        lines = await _answer(self._printed(pods[0]), NOT_FOUND, BAD_REQUEST) or []
        if status_of(job, pods).state == "running":
            lines = lines[:-1]
        text, read = whole_text("".join(lines).encode()[cursor : cursor + LOG_BYTES])
        return text, cursor + read

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job of this service that the namespace has. See Executor."""
        pods: dict[str, list[Pod]] = {}
        for pod in await self._listed(Pod):
            labels = (pod.metadata.labels if pod.metadata else None) or {}
            pods.setdefault(labels.get(JOB, ""), []).append(pod)
        found = [seen(each) for kind in _KINDS.values() for each in await self._listed(kind)]
        return [
            JobListed(
                job.annotations[JOB_ID], int(job.annotations[ATTEMPT]), status_of(job, pods.get(job.name, [])).state
            )
            for job in found
            if job.annotations.get(OWNER) == self._owner
            # An object that somebody copied by hand may say anything of itself: it is nobody's, and no reason to stop.
            and job.annotations.get(JOB_ID)
            and job.annotations.get(ATTEMPT, "").isdecimal()
        ]

    async def forget(self, job_id: str, attempt: int) -> None:
        """Delete the object of an ended job, with its pods; any other job stays. Idempotent."""
        job = await self._find(job_id, attempt)
        if job is not None and status_of(job, await self._pods_of(job.name)).state == "ended":
            deletion = self._client.delete(_KINDS[job.kind], job.name, cascade=CascadeType.BACKGROUND)
            await _answer(deletion, NOT_FOUND)

    async def close(self) -> None:
        """Close the connections. Jobs run on. May be called twice."""
        await self._client.aclose()

    async def _find(self, job_id: str, attempt: int) -> Seen | None:
        name = engine_name(self._owner, job_id, attempt)
        for kind in _KINDS.values():
            if (found := await self._get(kind, name)) is not None:
                return found
        return None

    async def _get(self, kind: Kind, name: str) -> Seen | None:
        found = await _answer(self._client.get(kind, name), NOT_FOUND)
        return None if found is None else seen(found)

    async def _pods_of(self, name: str) -> list[Pod]:
        return await self._listed(Pod, {JOB: name})

    async def _listed(self, kind: Any, labels: Mapping[str, str] | None = None) -> list[Any]:
        async def every() -> list[Any]:
            wanted = selector(self._owner) | dict(labels or {})
            return [found async for found in self._client.list(kind, labels=wanted)]

        # There are no TrainJobs where nobody installed what they are.
        return await _answer(every(), NOT_FOUND) or []

    async def _printed(self, pod: Pod) -> list[str]:
        containers = (pod.spec.containers if pod.spec else None) or []
        names = [container.name for container in containers if container.name in CONTAINERS]
        return [line async for line in self._client.log(_name(pod), container=names[0] if names else None)]


def kubernetes_executor(settings: Settings) -> KubernetesExecutor:
    """Return the executor that the settings describe. Raises SettingsError where they do not describe one."""
    if settings.kubernetes_image is None:
        raise SettingsError("WORKER_KUBERNETES_IMAGE is not set: the trainer's image")
    try:
        more = yaml.safe_load(settings.kubernetes_pod_file.read_text()) if settings.kubernetes_pod_file else {}
        client = AsyncClient(
            KubeConfig.from_env(), namespace=settings.kubernetes_namespace, timeout=httpx2.Timeout(REQUEST_SECONDS)
        )
    except (OSError, yaml.YAMLError, ConfigError) as error:
        raise SettingsError(f"Kubernetes cannot be used as it is set up here: {error}") from error
    if not isinstance(more, dict):
        raise SettingsError(f"WORKER_KUBERNETES_POD_FILE: {settings.kubernetes_pod_file} is no pod's spec")
    pods = PodSettings(
        image=settings.kubernetes_image,
        grace_seconds=settings.cancel_grace_seconds,
        keep_seconds=math.ceil(settings.job_retention_seconds),
        runtime=settings.kubernetes_runtime,
        secret=settings.kubernetes_secret,
        more=more,
    )
    owner = namespace_of(settings)
    return KubernetesExecutor(client, partial(trainer_environment, settings), owner=owner, pods=pods)


async def _answer(request: Awaitable[Answer], *refusals: int) -> Answer | None:
    """Return what Kubernetes answers; None for the refusals, by HTTP status, that are an answer too.

    Raises Unavailable for any other, save for an object that Kubernetes finds invalid: that one is a bug of ours.
    """
    try:
        return await request
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        if status in refusals:
            return None
        if status in (BAD_REQUEST, INVALID):
            raise
        first_line, *_ = str(error).splitlines() or [""]
        raise Unavailable(f"Kubernetes answered {status}: {first_line}") from error
    except (httpx2.HTTPError, msgspec.MsgspecError) as error:
        raise Unavailable(f"Kubernetes does not answer: {error!r}") from error


def _name(pod: Pod) -> str:
    return (pod.metadata.name if pod.metadata else None) or ""
