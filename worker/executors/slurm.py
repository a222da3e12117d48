"""The Slurm executor: training jobs as batch jobs of a cluster, whose nodes share a folder with the worker.

Slurm decides when a job runs and knows whether it lives; the job's folder holds its log, the wish to end it and how it
ended. A job is known by its folder, which is its working directory in Slurm. Names are for people there: Slurm takes
any number of jobs under one.
"""

import asyncio
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from handlers.errors import Transient, Unavailable
from handlers.layout import name_of, segment
from handlers.ports.jobs import JobListed, JobSpec, JobStatus
from worker.executors.namespace import namespace_of
from worker.executors.remote import spec_digest, trainer_environment
from worker.executors.slurm_batch import batch_options, batch_script
from worker.executors.slurm_client import COMMAND_SECONDS, SlurmClient, SlurmJob
from worker.executors.slurm_folder import JobFolder, Trace
from worker.settings import Settings, SettingsError

_JOB_ID = re.compile(r"[A-Za-z0-9._-]+")

Result = TypeVar("Result")


class SlurmExecutor:
    """An Executor whose jobs are Slurm's. Workers share theirs that share ``jobs_dir``, ``namespace`` and a Slurm user.

    Args:
        jobs_dir: where the jobs' folders are, on a POSIX file system (with hard links) that workers and nodes see
            under the same path.
        environment: what a job's environment gets besides its user's login environment. It stands in the batch
            script, which Slurm shows to that user and to administrators: no secrets.
        python: the interpreter on the nodes; ``worker`` must be installed for it.
        command: the trainer, on each node of the job; that of the first one counts.
        namespace: tells apart the deployments that share a folder: each has one of its own in it.
        partition, account: the cluster's defaults where None.
        options: more of sbatch's options; what the job's spec says goes before them.
        conf: slurm.conf, where it is not found by itself.
        listing_seconds: how old what Slurm said may be for ``status`` and ``jobs``.
    """

    name = "slurm"

    def __init__(
        self,
        jobs_dir: Path,
        environment: Callable[[JobSpec], Mapping[str, str]],
        *,
        python: str = sys.executable,
        command: Sequence[str] | None = None,
        namespace: str = "",
        partition: str | None = None,
        account: str | None = None,
        options: Sequence[str] = (),
        conf: Path | None = None,
        listing_seconds: float = 2.0,
    ) -> None:
        self._jobs_dir = jobs_dir.absolute() / namespace
        self._namespace = namespace
        self._environment = environment
        self._python = python
        self._command = tuple(command or (python, "-m", "worker.trainer"))
        choices = {"--partition": partition, "--account": account}
        self._options = [*options, *(f"{option}={value}" for option, value in choices.items() if value)]
        self._slurm = SlurmClient(conf, listing_seconds)
        # One thread: a file system that hangs holds up nothing else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="slurm-executor")

    async def submit(self, spec: JobSpec) -> None:
        """Queue a job. See Executor; raises Transient with Slurm's words where Slurm does not take it.

        It is submitted parked. Whoever finds parked jobs in the folder, having submitted one or not, lets the one with
        the lowest id go and cancels the others: ids only rise, so all agree on it, and a worker that dies in between
        leaves nothing that runs.
        """
        folder = self._folder(spec.job_id, spec.attempt)
        await self._off_loop(lambda: folder.create(spec_digest(spec)))
        trace = await self._off_loop(folder.trace)
        if trace.begun or trace.asked_to_end or trace.ended:
            return
        if not (found := await self._jobs_in(folder)):
            refusal = await self._sbatch(spec, folder)
            if not (found := await self._jobs_in(folder)):
                raise Transient(f"sbatch: {refusal or 'took the job, but squeue does not show it'}")
        first, *copies = found
        for copy in copies:
            if copy.parked:
                await self._slurm.end(copy)
        if first.parked and (refusal := await self._slurm.let_go(first)):
            await self._unless_needless(folder, first, lambda now: now.parked, refusal)

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        """Return what Slurm and the folder tell of a job. See Executor.

        A job that is still parked is ``unknown``: nothing becomes of it until its submit is made again.
        """
        folder = self._folder(job_id, attempt)
        job = _that_counts(await self._jobs_in(folder, fresh=False))
        # The folder second: how a job ended is written there before Slurm knows.
        trace = await self._off_loop(folder.trace)
        if not trace.known and (job is None or job.over):
            # Forgotten after its end, or never submitted. Where Slurm has it still, the folder only cannot be seen.
            return JobStatus(state="unknown")
        status = _status(job, trace)
        if job is None or status.state != "queued":
            return status
        return JobStatus(state="queued", queue_position=await self._slurm.position(job))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Ask a job to end. See Executor; its supervisor keeps the grace, the shortest asked for, without a worker."""
        folder = self._folder(job_id, attempt)
        await self._off_loop(lambda: folder.ask_to_end(grace_seconds))
        for job in await self._jobs_in(folder):
            if not job.ends and (refusal := await self._slurm.end(job)):
                await self._unless_needless(folder, job, lambda now: not now.ends, refusal)

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:
        """Return what the job printed from byte ``cursor`` on, 1 MiB at most, and the byte to go on from."""
        folder = self._folder(job_id, attempt)
        return await self._off_loop(lambda: folder.log(cursor))

    async def jobs(self) -> Sequence[JobListed]:
        """Return every job that has a folder, or that Slurm has in one. See Executor.

        What a worker that died left parked is ``queued`` here, so that a sweep can cancel it.
        """
        in_slurm: dict[str, list[SlurmJob]] = {}
        for job in await self._slurm.jobs():
            if job.directory.parent == self._jobs_dir:
                in_slurm.setdefault(job.directory.name, []).append(job)
        traces = await self._off_loop(self._traces)
        listed = []
        for name in sorted(traces.keys() | in_slurm.keys()):
            stem, _, attempt = name.rpartition(".")
            if _JOB_ID.fullmatch(name_of(stem)) and attempt.isdecimal():
                found = in_slurm.get(name, [])
                if name not in traces and all(job.over for job in found):
                    continue  # forgotten, though not by Slurm
                state = _status(_that_counts(found), traces.get(name, Trace())).state
                left = state != "running" and any(job.parked for job in found)
                listed.append(JobListed(name_of(stem), int(attempt), "queued" if left else state))
        return listed

    async def forget(self, job_id: str, attempt: int) -> None:
        """Remove an ended or lost job's folder; a queued or running job stays. Idempotent.

        Slurm cannot forget on demand: the same submit within its MinJobAge finds the job that has ended. That a job is
        over it says later than the folder does: the folder stays until then, as without it the job would be running.
        """
        folder = self._folder(job_id, attempt)
        found = await self._jobs_in(folder)
        if any(not job.over and not job.parked for job in found):
            return
        for job in found:
            if job.parked:
                await self._slurm.end(job)
        await self._off_loop(folder.remove)

    async def close(self) -> None:
        """Let go of this object's thread. Jobs run on. May be called twice."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _folder(self, job_id: str, attempt: int) -> JobFolder:
        if not _JOB_ID.fullmatch(job_id):
            raise ValueError(f"not a job id: {job_id!r}")
        return JobFolder(self._jobs_dir / f"{segment(job_id)}.{attempt}")

    def _traces(self) -> dict[str, Trace]:
        if not self._jobs_dir.is_dir():
            return {}
        return {path.name: JobFolder(path).trace() for path in self._jobs_dir.iterdir()}

    async def _sbatch(self, spec: JobSpec, folder: JobFolder) -> str:
        script = batch_script(folder, self._environment(spec), self._python, self._command, spec.resources.nodes)
        return await self._slurm.park(script, [*self._options, *batch_options(spec, folder, self._namespace)])

    async def _jobs_in(self, folder: JobFolder, *, fresh: bool = True) -> list[SlurmJob]:
        return [job for job in await self._slurm.jobs(fresh=fresh) if job.directory == folder.path]

    async def _unless_needless(
        self, folder: JobFolder, job: SlurmJob, needed: Callable[[SlurmJob], bool], refusal: str
    ) -> None:
        """Raise Unavailable with what Slurm said, unless what it was told is not needed any more."""
        if any(now.id == job.id and needed(now) for now in await self._jobs_in(folder)):
            raise Unavailable(f"slurm: {refusal}")

    async def _off_loop(self, work: Callable[[], Result]) -> Result:
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:  # a TimeoutError is one
            raise Unavailable(f"{self._jobs_dir}: {str(error) or 'does not answer'}") from error


def slurm_executor(settings: Settings) -> SlurmExecutor:
    """Return the executor that the settings describe. Raises SettingsError where they do not describe one."""
    if settings.slurm_jobs_dir is None:
        raise SettingsError("WORKER_SLURM_JOBS_DIR is not set: a folder that the worker and Slurm's nodes share")
    try:
        options = shlex.split(settings.slurm_options)
    except ValueError as error:
        raise SettingsError(f"WORKER_SLURM_OPTIONS is no list of options: {error}") from error
    return SlurmExecutor(
        settings.slurm_jobs_dir,
        partial(trainer_environment, settings),
        python=settings.slurm_python,
        namespace=namespace_of(settings),
        partition=settings.slurm_partition,
        account=settings.slurm_account,
        options=options,
    )


def _that_counts(jobs: Sequence[SlurmJob]) -> SlurmJob | None:
    """Return the job of several in one folder that stands for all: the one let go, else the first."""
    return next((job for job in jobs if not job.over and not job.parked), jobs[0] if jobs else None)


def _status(job: SlurmJob | None, trace: Trace) -> JobStatus:
    """Return a job's status from what Slurm and its folder tell. Pure."""
    if trace.ended:
        return JobStatus(state="ended", exit_code=trace.exit_code, cause=job.cause if job else None)
    if job is not None and not job.over:
        if job.waiting:
            return JobStatus(state="unknown" if job.parked else "queued")
        return JobStatus(state="running")
    if job is not None and trace.known:
        # Of what has not begun, a code is Slurm's own: it could not start it. A folder may be seen late, so 0 counts.
        counts = trace.begun or job.exit_code == 0
        return JobStatus(state="ended", exit_code=job.exit_code if counts else None, cause=job.cause)
    if trace.asked_to_end and not trace.begun:
        return JobStatus(state="ended")
    # Never submitted, forgotten, or lost with its node or with what Slurm knew.
    return JobStatus(state="unknown")
