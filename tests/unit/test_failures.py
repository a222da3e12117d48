"""The table of failures: whose matter each is, when another attempt is worth it, what a person is told."""

import ast
import errno
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.task import Phase, Progress
from contracts.training import Checkpoint, Failure
from handlers import attempts, failures
from handlers.errors import PreconditionFailed, Unavailable
from handlers.failures import FAILURES, Again
from handlers.ports.executors import Choice
from handlers.ports.jobs import EndCause, JobStatus, Resources
from handlers.task_state import AttemptEnd, TaskState
from tests.fakes.swept import PATIENCE, Swept, running
from worker.tokens.samples import UnreadableSample
from worker.tokens.template import ChatTemplateError
from worker.trainer.failures import failure_of

RUNNING = TaskState(task_id="t-1", phase=Phase.RUNNING, attempt=2, retry_count=1, executor="slurm")
LOCAL = Choice("local", Resources())
REPORTING = ("users_fault", "platforms_fault", "Failure", "_known")
#: An exception for each reason that a trainer may give one.
CAUGHT: dict[str, Exception] = {
    "template-refuses-sample": ChatTemplateError("no"),
    "unreadable-sample": UnreadableSample("line 3"),
    "dataset-changed": PreconditionFailed("another ETag"),
    "bucket-unavailable": Unavailable("timeout"),
    "out-of-memory": MemoryError(),
    "disk-full": OSError(errno.ENOSPC, "No space left on device"),
    "gpu-fault": RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    "communication-failed": RuntimeError("NCCL error: unhandled system error"),
    "trainer-error": RuntimeError("shapes differ"),
}


def _end(reason: str, step: int | None = None, *, attempt: int = 2, retryable: bool = True) -> AttemptEnd:
    return AttemptEnd(
        attempt=attempt, executor="slurm", reason=reason, party="platform", message="m", step=step, retryable=retryable
    )


def _ended(exit_code: int | None = None, cause: EndCause | None = None) -> JobStatus:
    return JobStatus(state="ended", exit_code=exit_code, cause=cause)


@pytest.mark.parametrize("reason", FAILURES)
def test_every_failure_says_what_a_person_can_do(reason: str) -> None:
    known = FAILURES[reason]
    assert reason == reason.lower()
    assert known.action
    assert not known.action.endswith(".")
    assert known.party in ("user", "platform")
    # What only the user can mend is never tried again, but for one that may be somebody else's on the same GPU.
    assert known.party == "platform" or known.again is Again.NEVER or reason == "out-of-memory"


@pytest.mark.parametrize("reason", CAUGHT)
def test_what_a_trainer_says_of_an_exception_agrees_with_the_table(reason: str) -> None:
    said, known = failure_of(CAUGHT[reason]), FAILURES[reason]
    assert (said.reason, said.party, said.retryable) == (reason, known.party, known.again is not Again.NEVER)


def test_no_reason_that_a_trainer_gives_an_exception_is_forgotten_here() -> None:
    module = ast.parse(Path("worker/trainer/failures.py").read_text(encoding="utf-8"))
    words = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)}
    assert {reason for reason in FAILURES if reason in words} == set(CAUGHT)


def test_whatever_our_trainer_reports_is_in_the_table() -> None:
    reported = set[object]()
    for path in Path("worker/trainer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REPORTING and node.args:
                reported |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    assert len(reported) > 8
    assert reported <= set(FAILURES)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (_ended(2), "cannot-begin"),
        (_ended(127), "cannot-begin"),
        (_ended(3), "superseded"),
        (_ended(-9), "killed"),
        (_ended(137), "killed"),
        (_ended(-15), "interrupted"),
        (_ended(143), "interrupted"),
        (_ended(-6), "crashed"),
        (_ended(139), "crashed"),
        (_ended(1), "job-lost"),
        (_ended(0), "job-lost"),
        (_ended(None), "job-lost"),
        (JobStatus(state="unknown"), "job-lost"),
        # What the engine says of it is more than the signal it sent.
        (_ended(-9, "out-of-memory"), "host-out-of-memory"),
        (_ended(137, "time-limit"), "time-limit"),
        (_ended(None, "node-failed"), "node-failed"),
        (_ended(-15, "preempted"), "preempted"),
    ],
)
def test_a_job_that_said_nothing_is_judged_by_what_its_engine_shows(job: JobStatus, reason: str) -> None:
    end = failures.observed(RUNNING, job)
    assert (end.reason, end.party, end.attempt, end.executor) == (reason, "platform", 2, "slurm")
    assert reason in FAILURES
    assert end.message


def test_what_the_trainer_said_counts_for_more_unless_it_only_knows_that_it_was_asked_to_end() -> None:
    said = replace(RUNNING, last_word=_end("out-of-memory"))
    assert failures.observed(said, _ended(-9, "preempted")).reason == "out-of-memory"
    asked = replace(RUNNING, last_word=_end("interrupted"))
    assert failures.observed(asked, _ended(0)).reason == "interrupted"
    assert failures.observed(asked, _ended(0, "time-limit")).reason == "time-limit"


@pytest.mark.parametrize(
    ("end", "before", "worth"),
    [
        (_end("loss-diverged", 5), None, False),
        (_end("killed", 5), None, True),
        (_end("killed", 5), _end("killed", 5, attempt=1), True),
        # The same failure at the same step again: it would be so every time.
        (_end("out-of-memory", 5), None, True),
        (_end("out-of-memory", 5), _end("out-of-memory", 5, attempt=1), False),
        (_end("out-of-memory", 3), _end("out-of-memory", 5, attempt=1), False),
        (_end("out-of-memory", 6), _end("out-of-memory", 5, attempt=1), True),
        (_end("out-of-memory", 5), _end("killed", 5, attempt=1), True),
        (_end("cannot-begin"), _end("cannot-begin", attempt=1), False),
        (_end("time-limit", 90), _end("time-limit", 40, attempt=1), True),
        (_end("time-limit", 40), _end("time-limit", 40, attempt=1), False),
        # Of what the table does not know the trainer's word holds.
        (_end("a-reason-of-tomorrow", 5), None, True),
        (_end("a-reason-of-tomorrow", 5), _end("a-reason-of-tomorrow", 5, attempt=1), False),
        (_end("a-reason-of-tomorrow", 5, retryable=False), None, False),
        # Nor does the table know better than a trainer that rules another attempt out.
        (_end("killed", 5, retryable=False), None, False),
    ],
)
def test_when_another_attempt_is_worth_it(end: AttemptEnd, before: AttemptEnd | None, *, worth: bool) -> None:
    state = replace(RUNNING, ends=(before,) if before else ())
    assert failures.worth_another(state, end) is worth
    assert not failures.worth_another(replace(state, retry_count=3), end)
    if not worth:
        failed = failures.failed(state, end)
        assert (failed.phase, failed.reason) == (Phase.FAILED, end.reason)
        assert failed.message.endswith(FAILURES[end.reason].action if end.reason in FAILURES else "m")


def test_a_repetition_names_both_attempts_and_used_up_retries_what_ended_the_last() -> None:
    twice = failures.failed(replace(RUNNING, ends=(_end("out-of-memory", 5, attempt=1),)), _end("out-of-memory", 5))
    assert (twice.reason, twice.party) == ("out-of-memory", "user")
    assert "attempts 1 and 2" in twice.message
    used_up = failures.failed(replace(RUNNING, retry_count=3), _end("disk-full", 5))
    assert (used_up.reason, used_up.party) == ("retries-exhausted", "platform")
    assert "disk-full" in used_up.message
    assert "3 of 3 retries" in used_up.message


@pytest.mark.parametrize("reason", ["checkpoint-broken", "checkpoint-missing"])
def test_an_attempt_after_a_broken_checkpoint_begins_at_the_beginning(reason: str) -> None:
    checkpoint = Checkpoint(step=30, uri="memory://c/30")
    state = replace(RUNNING, progress=Progress(step=40, total_steps=80), checkpoint=checkpoint)
    again = attempts.retried(state, LOCAL, failures.reported(state, Failure(reason, "platform", "broken")))
    assert again.checkpoint is None
    assert "the beginning" in again.message
    other = attempts.retried(state, LOCAL, failures.reported(state, Failure("killed", "platform", "killed")))
    assert other.checkpoint == state.checkpoint


# --- in a sweep ------------------------------------------------------------------------------------------------


async def _fails(swept: Swept, attempt: int, step: int, **failure: object) -> None:
    said = {"reason": "out-of-memory", "party": "user", "message": "CUDA out of memory"} | failure
    progress = {"step": step, "total_steps": 80}
    await swept.world.progress("failed", 9, attempt=attempt, progress=progress, failure=said)
    swept.world.executor.end("t-1", attempt, 1)


async def test_what_the_trainer_reported_is_tried_again_as_soon_as_its_job_is_gone() -> None:
    swept = await running()
    await _fails(swept, 1, 40)
    said = await swept.sweep(after=0)
    state = await swept.state()
    assert (state.attempt, state.reason, state.party, state.retry_count) == (2, "out-of-memory", "user", 1)
    assert "CUDA out of memory; trying again from the beginning" in state.message
    assert [each.topic for each in said] == ["task.status", "training.dispatched"]


async def test_the_same_failure_at_the_same_step_is_not_tried_to_the_end() -> None:
    swept = await running()
    await _fails(swept, 1, 40)
    await swept.sweep()
    await _fails(swept, 2, 40)
    state = await swept.state()
    assert (state.phase, state.reason, state.party, state.retry_count) == (Phase.FAILED, "out-of-memory", "user", 1)
    assert "Lower batch_size" in state.message
    await swept.sweep(after=PATIENCE)
    assert len(swept.world.submitted) == 2


async def test_one_that_gets_further_each_time_is_tried_until_the_retries_are_used_up() -> None:
    swept = await running()
    for attempt, step in enumerate((10, 20, 30, 40), start=1):
        await _fails(swept, attempt, step)
        await swept.sweep()
    state = await swept.state()
    assert (state.phase, state.reason, state.attempt) == (Phase.FAILED, "retries-exhausted", 4)
    assert [end.step for end in state.ends] == [10, 20, 30]


async def test_a_task_whose_plan_was_deleted_is_tried_where_it_was_and_not_stuck() -> None:
    swept = await running()
    await swept.world.store.delete("tasks/t-1/plan.json")
    swept.world.executor.end("t-1", 1, -9)
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 2


async def test_the_last_word_of_an_attempt_is_not_the_next_one_s() -> None:
    swept = await running()
    await _fails(swept, 1, 40)
    await swept.sweep()
    await swept.world.progress("running", 0, attempt=2, progress={"step": 41, "total_steps": 80})
    swept.world.executor.end("t-1", 2, 1)
    await swept.sweep()
    assert (await swept.state()).attempt == 2, "why it ended may be on its way"
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 3
