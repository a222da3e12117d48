"""The Ray executor: training jobs on a Ray cluster, by its REST API."""

import asyncio
import math
import re
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from handlers.errors import Unavailable
from handlers.ports.jobs import JobListed, JobSpec, JobStatus, Resources
from worker.executors.job_log import whole_text
from worker.executors.namespace import namespace_of
from worker.executors.ray_api import RayApi, RayJob
from worker.executors.ray_killer import killer
from worker.executors.ray_state import (
    ATTEMPT,
    JOB_ID,
    KILLS,
    OWNER,
    SPEC_DIGEST,
    TIME_LIMIT,
    Cluster,
    has_ended,
    metadata,
    status_of,
)
from worker.executors.remote import engine_name, spec_digest, trainer_environment
from worker.settings import Settings, SettingsError

#: On the cluster's machines: their Python, with this package and the extra `trainer`.
TRAINER_COMMAND = ("python", "-m", "worker.trainer")

#: Seconds a killer may take to start and to end. It takes three where the head is not busy.
KILLER_SECONDS = 30.0

#: What Ray writes into a job's log besides the job's own words; the second may come after the first of these.
_RAYS_OWN = re.compile(r"^(.* -- Runtime env is setting up\.|Running entrypoint for job .*)\n", re.MULTILINE)


class RayExecutor:
    """An Executor whose jobs are Ray's.

    One job is one process on one node, with the GPUs it asks for; without any it takes a CPU. Ray starts jobs roughly
    in the order they came; ``queue_position`` counts from 1 and is an estimate. Of a job that was cancelled while it
    ran, Ray keeps no exit code. A running job whose machine died and a queued one whose head died are ``unknown``.

    The grace of ``cancel`` is ``grace_seconds`` at most: Ray fixes it at submit. A shorter one, and the end of a queued
    job, take a job on the head (ray_killer.py), which comes some three seconds late. The logs of forgotten jobs stay on
    Ray's machines.

    Args:
        address: the URL of the head's dashboard.
        environment: what a job is told, its spec included. Ray shows it to whoever may look at its jobs: no secrets.
        owner: tells apart the deployments that share a cluster.
        grace_seconds: the longest that a cancelled job may take to save.
        token_file: holds the token that the head asks for; read at each request.
        command: the trainer.
    """

    name = "ray"

    def __init__(
        self,
        address: str,
        environment: Callable[[JobSpec], Mapping[str, str]],
        *,
        owner: str,
        grace_seconds: float,
        token_file: Path | None = None,
        command: Sequence[str] = TRAINER_COMMAND,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = RayApi(address, token_file)
        self._environment = environment
        self._owner = owner
        self._grace_seconds = math.ceil(grace_seconds)
        self._command = tuple(command)
        self._sleep = sleep

    async def submit(self, spec: JobSpec) -> None:
        """Hand a job over. See Executor; ValueError also for a job of several nodes, which Ray's jobs cannot be."""
        if spec.resources.nodes > 1:
            raise ValueError(f"job {spec.job_id}: {_too_many(spec.resources)}")
        request = self._request(spec)
        said = await self._api.submit(request)
        if said is None:
            return
        known = await self._api.job(request["submission_id"])
        if known is None:
            raise Unavailable(f"Ray did not take job {spec.job_id} attempt {spec.attempt}: {said}")
        if metadata(known, SPEC_DIGEST) != spec_digest(spec):
            raise ValueError(f"job {spec.job_id} attempt {spec.attempt} was submitted with another spec")

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what Ray and its machines tell of a job. See Executor."""
        job = await self._job(job_id, attempt)
        return JobStatus(state="unknown") if job is None else status_of(job, await self._around(job))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end. See Executor; once this returns it ends, even if every worker dies.

        For a queued job it returns when the job cannot start any more, seconds later. One that starts meanwhile is
        killed.
        """
        job = await self._job(job_id, attempt)
        if job is None or has_ended(job):
            return
        name = self._name(job_id, attempt)
        if job.status == "PENDING":
            await self._until_ended(await self._send_killer(name, 0))
            return
        await self._api.stop(name)
        if grace_seconds < self._grace_seconds:
            await self._send_killer(name, grace_seconds)

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job printed from byte ``cursor`` on, 1 MiB at most, and the byte to go on from.

        Of a job that could not be started: Ray's reason. Raises Unavailable also where the job's machine is gone.
        """
        job = await self._job(job_id, attempt)
        if job is None:
            return "", cursor
        if job.driver_node_id is None:
            reason = job.message or "" if has_ended(job) else ""
            text, read = whole_text(reason.encode()[cursor:])
            return text, cursor + read
        text, read = whole_text(await self._api.log(job, cursor))
        return _RAYS_OWN.sub("", text), cursor + read

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job of this service that Ray knows of. See Executor."""
        cluster = Cluster(await self._api.jobs(), await self._api.nodes())
        return [
            JobListed(job_id, int(attempt), status_of(job, cluster).state)
            for job in cluster.jobs
            if metadata(job, OWNER) == self._owner
            and (job_id := metadata(job, JOB_ID))
            # A job that somebody copied by hand may say anything of itself: it is nobody's, and no reason to stop.
            and (attempt := metadata(job, ATTEMPT))
            and attempt.isdecimal()
        ]

    async def forget(self, job_id: str, attempt: int) -> None:
        """Drop Ray's record of an ended job, and of what killed it; any other job stays. Idempotent."""
        job = await self._job(job_id, attempt)
        if job is None or not has_ended(job):
            return
        await self._api.delete(self._name(job_id, attempt))
        for other in await self._api.jobs():
            if metadata(other, KILLS) == job.submission_id and other.submission_id and has_ended(other):
                await self._api.delete(other.submission_id)

    async def close(self) -> None:
        """Close the connections. Jobs run on. May be called twice."""
        await self._api.close()

    def _name(self, job_id: str, attempt: int) -> str:
        return engine_name(self._owner, job_id, attempt)

    async def _job(self, job_id: str, attempt: int) -> RayJob | None:
        return await self._api.job(self._name(job_id, attempt))

    async def _around(self, job: RayJob) -> Cluster:
        if job.status == "PENDING":
            return Cluster(await self._api.jobs(), await self._api.nodes("is_head_node", "True"))
        if job.status == "FAILED":
            return Cluster(await self._api.jobs())
        if has_ended(job):
            return Cluster()
        return Cluster(nodes=await self._api.nodes("node_id", job.driver_node_id or ""))

    async def _send_killer(self, name: str, after_seconds: float) -> str:
        """Send a killer after a job, if none was sent with this wish that did not fail; return its name."""
        request = killer(self._owner, name, after_seconds)
        killer_name = str(request["submission_id"])
        said = await self._api.submit(request)
        earlier = None if said is None else await self._api.job(killer_name)
        if earlier is not None and earlier.status == "FAILED":
            await self._api.delete(killer_name)
            said, earlier = await self._api.submit(request), None
        if said is not None and earlier is None:
            raise Unavailable(f"Ray did not take {killer_name}: {said}")
        return killer_name

    async def _until_ended(self, killer_name: str) -> None:
        deadline = time.monotonic() + KILLER_SECONDS
        while (job := await self._api.job(killer_name)) is not None and job.status != "SUCCEEDED":
            if has_ended(job) or time.monotonic() >= deadline:
                raise Unavailable(f"{killer_name} did not do its work on Ray's head: {job.message}")
            await self._sleep(0.2)

    def _request(self, spec: JobSpec) -> dict[str, Any]:
        gpus, limit = spec.resources.gpus, spec.resources.time_limit_seconds
        return {
            "submission_id": self._name(spec.job_id, spec.attempt),
            "entrypoint": self._entrypoint(limit),
            # Something must be asked for: without it every job runs at once, on the head.
            **({"entrypoint_num_gpus": gpus} if gpus else {"entrypoint_num_cpus": 1}),
            "metadata": {
                OWNER: self._owner,
                JOB_ID: spec.job_id,
                ATTEMPT: str(spec.attempt),
                SPEC_DIGEST: spec_digest(spec),
                **({TIME_LIMIT: str(limit)} if limit else {}),
            },
            "runtime_env": {
                "env_vars": {
                    **self._environment(spec),
                    "RAY_JOB_STOP_WAIT_TIME_S": str(self._grace_seconds),
                }
            },
        }

    def _entrypoint(self, time_limit_seconds: int | None) -> str:
        # Ray has no limit on a job's time; coreutils are on every machine.
        limit = (
            ("timeout", f"--kill-after={self._grace_seconds}", str(time_limit_seconds)) if time_limit_seconds else ()
        )
        # Without exec a shell stays between, which a killed head leaves behind with what it runs.
        return f"exec {shlex.join((*limit, *self._command))}"


def ray_executor(settings: Settings) -> RayExecutor:
    """Return the executor that the settings describe. Raises SettingsError where they do not describe one."""
    if settings.ray_address is None:
        raise SettingsError("WORKER_RAY_ADDRESS is not set: the URL of a Ray head's dashboard, http://head:8265")
    return RayExecutor(
        settings.ray_address,
        partial(trainer_environment, settings),
        owner=namespace_of(settings),
        grace_seconds=settings.cancel_grace_seconds,
        token_file=settings.ray_token_file,
    )


def refusal(_: Settings, resources: Resources) -> str | None:
    """Return why no Ray cluster could run a job that asks for these, or None. Pure."""
    return _too_many(resources) if resources.nodes > 1 else None


def _too_many(resources: Resources) -> str:
    return f"{resources.nodes} nodes: a Ray job's entrypoint runs on one; kubernetes and slurm have jobs of several"
