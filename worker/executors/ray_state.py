"""What Ray's word on a job means. Pure: no I/O.

Ray says less than it seems: a job is PENDING and RUNNING for as long as nobody changes its record, also where the head
or the machine that would have changed it is gone.
"""

from collections.abc import Sequence

from msgspec import Struct

from handlers.ports.jobs import JobState, JobStatus
from worker.executors.ray_api import RayJob, RayNode

#: A job of ours has these in its metadata, and a killer of ours (see ray_killer) the name of the job it kills.
OWNER, JOB_ID, ATTEMPT, SPEC_DIGEST, TIME_LIMIT, KILLS = (
    f"finetune-worker.{name}" for name in ("owner", "job-id", "attempt", "spec", "time-limit", "kills")
)

_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
#: Ray's reasons that mean: the process that looked after the job is gone, and with it all that is known of its end.
_LOST = frozenset(
    {
        "JOB_SUPERVISOR_ACTOR_DIED",
        "JOB_SUPERVISOR_ACTOR_START_FAILURE",
        "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE",
    }
)
_KILLED = -9
#: What timeout(1), which runs a job that has a limit, says of one that was over it and obeyed.
_OVER_TIME = 124


class Cluster(Struct, frozen=True):
    """What is around a job, as far as it matters to it: other jobs, killers included, and machines."""

    jobs: Sequence[RayJob] = ()
    nodes: Sequence[RayNode] = ()


def has_ended(job: RayJob) -> bool:
    """Return whether Ray will never change the job's record again."""
    return job.status in _ENDED


def metadata(job: RayJob, key: str) -> str | None:
    """Return a value of the job's metadata, None where it has none."""
    value = (job.metadata or {}).get(key)
    return value if isinstance(value, str) else None


def status_of(job: RayJob, cluster: Cluster) -> JobStatus:
    """Return what is known of a job.

    Needs of the cluster: for a PENDING job all jobs and the head; for a RUNNING one the node it runs on; for a FAILED
    one all jobs.
    """
    state = _state(job, cluster)
    if state == "ended":
        over_time = job.driver_exit_code == _OVER_TIME and metadata(job, TIME_LIMIT) is not None
        return JobStatus(state=state, exit_code=_exit_code(job, cluster), cause="time-limit" if over_time else None)
    if state == "queued":
        return JobStatus(state=state, queue_position=_queue_position(job, cluster))
    return JobStatus(state=state)


def _state(job: RayJob, cluster: Cluster) -> JobState:
    if job.status == "PENDING":
        # Its record may change a second after it was killed.
        if "SUCCEEDED" in _killers(job, cluster):
            return "ended"
        return "unknown" if _submitted_to_an_earlier_head(job, cluster) else "queued"
    if job.status == "FAILED":
        return "unknown" if job.error_type in _LOST and not _was_killed(job, cluster) else "ended"
    if job.status in _ENDED:
        return "ended"
    return "running" if _node_lives(job, cluster) else "unknown"


def _exit_code(job: RayJob, cluster: Cluster) -> int | None:
    if job.driver_node_id and job.error_type in _LOST and _was_killed(job, cluster):
        return _KILLED
    # Ray keeps none of a job that it stopped.
    return job.driver_exit_code


def _was_killed(job: RayJob, cluster: Cluster) -> bool:
    # A killer may have its own end still before it.
    return any(status != "FAILED" for status in _killers(job, cluster))


def _killers(job: RayJob, cluster: Cluster) -> list[str]:
    """Return the status of each killer that was sent after the job."""
    return [other.status for other in cluster.jobs if metadata(other, KILLS) == job.submission_id]


def _submitted_to_an_earlier_head(job: RayJob, cluster: Cluster) -> bool:
    """Return whether a waiting job was lost: a head forgets at its end to start what waits, its successor never does.

    Both times are the head's, and a head takes longer to come back than its clock may be wrong.
    """
    heads = [node for node in cluster.nodes if node.is_head_node and node.state == "ALIVE"]
    return any((job.start_time or 0) < head.start_time_ms for head in heads)


def _node_lives(job: RayJob, cluster: Cluster) -> bool:
    # A status that Ray does not have yet is taken for running: nothing is done about such a job.
    if job.driver_node_id is None:
        return True
    return any(node.node_id == job.driver_node_id and node.state == "ALIVE" for node in cluster.nodes)


def _queue_position(job: RayJob, cluster: Cluster) -> int:
    """Return how many wait that came before, this one included; Ray may let smaller ones pass."""

    def came(other: RayJob) -> tuple[int, str]:
        return other.start_time or 0, other.submission_id or ""

    waiting = [
        other
        for other in cluster.jobs
        if other.status == "PENDING" and metadata(other, KILLS) is None and _state(other, cluster) == "queued"
    ]
    return 1 + sum(came(other) < came(job) for other in waiting)
