"""What Ray's word on a job means, for words that a real head says in rare moments alone."""

from typing import Any

import pytest

from handlers.ports.jobs import EndCause, JobStatus
from worker.executors.ray_api import RayJob, RayNode
from worker.executors.ray_state import KILLS, TIME_LIMIT, Cluster, status_of

UNKNOWN, RUNNING = JobStatus(state="unknown"), JobStatus(state="running")
HEAD = RayNode(node_id="head", state="ALIVE", is_head_node=True, start_time_ms=100)
OLD_HEAD = RayNode(node_id="old", state="DEAD", is_head_node=True, start_time_ms=10)


def job(status: str, **more: Any) -> RayJob:
    told: dict[str, Any] = {"status": status, "submission_id": "a", "start_time": 200}
    return RayJob(**(told | more))


def killer(status: str, of: str = "a") -> RayJob:
    return RayJob(status=status, submission_id=f"{of}-kill-0", metadata={KILLS: of}, start_time=1)


def ended(exit_code: int | None = None, cause: EndCause | None = None) -> JobStatus:
    return JobStatus(state="ended", exit_code=exit_code, cause=cause)


def queued(position: int) -> JobStatus:
    return JobStatus(state="queued", queue_position=position)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (job("SUCCEEDED", driver_exit_code=0), ended(0)),
        (job("FAILED", driver_exit_code=3, error_type="JOB_ENTRYPOINT_COMMAND_ERROR"), ended(3)),
        (job("FAILED", driver_exit_code=-9, error_type="JOB_ENTRYPOINT_COMMAND_ERROR"), ended(-9)),
        (job("FAILED", driver_exit_code=124, metadata={TIME_LIMIT: "60"}), ended(124, "time-limit")),
        (job("FAILED", driver_exit_code=1, metadata={TIME_LIMIT: "60"}), ended(1)),
        (job("FAILED", driver_exit_code=124), ended(124)),
        (job("STOPPED"), ended()),
        # It never ran, and never will.
        (job("FAILED", error_type="RUNTIME_ENV_SETUP_FAILURE"), ended()),
        (job("FAILED", error_type="JOB_SUPERVISOR_ACTOR_START_TIMEOUT"), ended()),
        # What looked after it is gone.
        (job("FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED", driver_node_id="n"), UNKNOWN),
        (job("FAILED", error_type="JOB_SUPERVISOR_ACTOR_START_FAILURE"), UNKNOWN),
        # A word that Ray does not have yet: nothing is done about it.
        (job("PAUSED"), RUNNING),
    ],
)
def test_an_end_is_told_from_a_loss(found: RayJob, expected: JobStatus) -> None:
    assert status_of(found, Cluster()) == expected


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([RayNode(node_id="n", state="ALIVE")], RUNNING),
        ([RayNode(node_id="n", state="DEAD")], UNKNOWN),
        ([RayNode(node_id="other", state="ALIVE")], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_a_job_runs_while_its_machine_does(nodes: list[RayNode], expected: JobStatus) -> None:
    assert status_of(job("RUNNING", driver_node_id="n"), Cluster(nodes=nodes)) == expected


@pytest.mark.parametrize(("submitted_ms", "expected"), [(99, UNKNOWN), (100, queued(1))])
def test_a_job_that_waited_for_an_earlier_head_is_lost(submitted_ms: int, expected: JobStatus) -> None:
    waiting = job("PENDING", start_time=submitted_ms)
    assert status_of(waiting, Cluster([waiting], [OLD_HEAD, HEAD])) == expected


@pytest.mark.parametrize(
    ("killers", "expected"),
    [
        ([killer("SUCCEEDED")], ended()),
        # It is on its way, or failed, or after another job.
        ([killer("RUNNING")], queued(1)),
        ([killer("FAILED")], queued(1)),
        ([killer("SUCCEEDED", of="b")], queued(1)),
    ],
)
def test_a_queued_job_that_was_killed_has_ended_before_its_record_says_so(
    killers: list[RayJob], expected: JobStatus
) -> None:
    waiting = job("PENDING")
    assert status_of(waiting, Cluster([waiting, *killers], [HEAD])) == expected


@pytest.mark.parametrize(
    ("ran_on", "killers", "expected"),
    [
        ("n", [killer("SUCCEEDED")], ended(-9)),
        # The killer's own end comes after its victim's.
        ("n", [killer("RUNNING")], ended(-9)),
        ("n", [killer("FAILED")], UNKNOWN),
        (None, [killer("SUCCEEDED")], ended()),
    ],
)
def test_what_a_killer_killed_is_no_loss(ran_on: str | None, killers: list[RayJob], expected: JobStatus) -> None:
    gone = job("FAILED", error_type="JOB_SUPERVISOR_ACTOR_DIED", driver_node_id=ran_on)
    assert status_of(gone, Cluster([gone, *killers])) == expected


def test_the_place_in_the_queue_counts_those_that_wait_and_came_before() -> None:
    mine = job("PENDING", submission_id="m", start_time=300)
    others = [
        job("PENDING", submission_id="theirs-too", start_time=200),
        job("PENDING", submission_id="a", start_time=300),
        job("PENDING", submission_id="z", start_time=300),
        job("PENDING", submission_id="later", start_time=400),
        job("PENDING", submission_id="lost", start_time=99),
        job("PENDING", submission_id="cancelled", start_time=250),
        killer("SUCCEEDED", of="cancelled"),
        job("RUNNING", submission_id="running", start_time=101),
        RayJob(status="PENDING", submission_id="later-kill-0", metadata={KILLS: "later"}, start_time=150),
    ]
    assert status_of(mine, Cluster([*others, mine], [HEAD])) == queued(3)
