"""What no event announces: the decision as a table, and sweeps that lose and repeat nothing."""

import pytest

from contracts.task import Phase
from handlers import layout, task_state
from handlers.errors import Unavailable
from handlers.ports import JobStatus
from handlers.reconciliation import Action, decide
from handlers.task_state import TaskState
from handlers.training_progress import INTERRUPTED
from tests.fakes.swept import PATIENCE, Swept, running, task_in
from tests.fakes.world import World, command_event, ids, statuses

UNKNOWN, QUEUED, RUNNING = (JobStatus(state=state) for state in ("unknown", "queued", "running"))
ENDED_WELL, ENDED_BADLY = JobStatus(state="ended", exit_code=0), JobStatus(state="ended", exit_code=-9)


@pytest.mark.parametrize(
    ("state", "job", "unchanged", "action"),
    [
        # While a job lives, it is left alone, however silent; the trainer's silence is judged elsewhere.
        (task_in(Phase.RUNNING), RUNNING, 1000, Action.LEAVE),
        (task_in(Phase.QUEUED, seq=-1), QUEUED, 1000, Action.LEAVE),
        (task_in(Phase.TERMINATING), RUNNING, 0, Action.CANCEL),
        (task_in(Phase.TERMINATING, seq=-1), QUEUED, 0, Action.CANCEL),
        # A job that is gone has usually said why: patience first.
        (task_in(Phase.RUNNING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (task_in(Phase.RUNNING), UNKNOWN, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), UNKNOWN, PATIENCE, Action.RETRY),
        (task_in(Phase.DEPLOYING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (task_in(Phase.RUNNING, retry_count=3), ENDED_BADLY, PATIENCE, Action.FAIL),
        (task_in(Phase.RUNNING, retry_count=2), ENDED_BADLY, PATIENCE, Action.RETRY),
        # One that ended well said so: only our lag can hide it.
        (task_in(Phase.RUNNING), ENDED_WELL, PATIENCE * 29, Action.LEAVE),
        (task_in(Phase.RUNNING), ENDED_WELL, PATIENCE * 30, Action.RETRY),
        (task_in(Phase.RUNNING, reason=INTERRUPTED), ENDED_WELL, PATIENCE, Action.RETRY),
        # Begun and never handed over: hand it over; and in the end begin anew.
        (task_in(Phase.QUEUED, seq=-1), UNKNOWN, 0, Action.SUBMIT),
        (task_in(Phase.QUEUED, seq=-1), UNKNOWN, PATIENCE, Action.RETRY),
        (task_in(Phase.QUEUED, seq=-1), ENDED_BADLY, 0, Action.LEAVE),
        # Stopped.
        (task_in(Phase.TERMINATING, seq=-1), UNKNOWN, 0, Action.TERMINATE),
        (task_in(Phase.TERMINATING, seq=-1), ENDED_BADLY, 0, Action.TERMINATE),
        (task_in(Phase.TERMINATING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.TERMINATING), ENDED_BADLY, PATIENCE, Action.TERMINATE),
        # Without a job, and after the end.
        (task_in(Phase.PREPROCESSING, attempt=0), UNKNOWN, 1000, Action.LEAVE),
        (task_in(Phase.PAUSED), ENDED_BADLY, 1000, Action.LEAVE),
        (task_in(Phase.COMPLETING), ENDED_WELL, 1000, Action.LEAVE),
        (task_in(Phase.COMPLETED), UNKNOWN, 0, Action.RELEASE),
        (task_in(Phase.FAILED), RUNNING, 0, Action.RELEASE),
        (task_in(Phase.TERMINATED), ENDED_BADLY, 0, Action.RELEASE),
    ],
)
def test_what_is_done(state: TaskState, job: JobStatus, unchanged: float, action: Action) -> None:
    assert decide(state, job, unchanged, PATIENCE) is action


# --- sweeps --------------------------------------------------------------------------------------------------


async def test_a_lost_job_is_begun_again_from_its_checkpoint() -> None:
    world = World()
    uri = world.store.uri("tasks/t-1/attempts/1/checkpoints/5")
    swept = await running(world, checkpoint={"step": 5, "uri": uri})
    world.executor.lose("t-1", 1)
    assert await swept.sweep(after=PATIENCE - 1) == []
    said = await swept.sweep(after=1)
    state = await swept.state()
    assert (state.phase, state.attempt, state.retry_count, state.reason) == (Phase.QUEUED, 2, 1, "job-lost")
    assert "step 5" in state.message
    assert (world.executor.submits[-1].attempt, world.executor.submits[-1].resume_from) == (2, world.store.key(uri))
    assert world.executor.submits[-1].attempt_prefix == layout.attempt("t-1", 2)
    assert [each.topic for each in said] == ["task.status", "training.dispatched"]
    assert await swept.sweep(after=1000) == [], "the new job lives"


async def test_a_job_lost_without_a_checkpoint_begins_at_the_beginning() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, -9)
    await swept.sweep(after=PATIENCE)
    assert swept.world.executor.submits[-1].resume_from is None
    assert "beginning" in (await swept.state()).message


async def test_once_the_retries_are_used_up_the_task_fails() -> None:
    swept = await running()
    for attempt in (1, 2, 3, 4):
        assert (await swept.state()).attempt == attempt
        swept.world.executor.end("t-1", attempt, 1)
        await swept.sweep()
        said = await swept.sweep(after=PATIENCE)
    (status,) = statuses(said)
    assert (status.phase, status.reason, status.party) == (Phase.FAILED, "retries-exhausted", "platform")
    assert (status.retry_count, status.retry_limit, status.attempt) == (3, 3, 4)
    assert len(swept.world.submitted) == 4


async def test_a_result_that_comes_in_time_is_no_lost_job() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, 0)
    await swept.sweep(after=PATIENCE * 29)
    await swept.world.progress("succeeded", 2, outputs=[await swept.world.leave_output()])
    await swept.sweep(after=PATIENCE * 100)
    assert (await swept.state()).phase is Phase.COMPLETING
    assert len(swept.world.submitted) == 1


async def test_every_sign_of_life_renews_the_patience() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, 1)
    for seq in range(2, 6):
        assert await swept.sweep(after=PATIENCE - 1) == []
        await swept.world.progress("running", seq)
    await swept.sweep()
    assert (await swept.state()).attempt == 1


async def test_a_reconciler_that_just_began_has_seen_no_silence_yet() -> None:
    swept = await running()
    swept.world.executor.lose("t-1", 1)
    await swept.sweep(after=PATIENCE - 1)
    swept.reconciler = swept.another()
    assert await swept.sweep(after=PATIENCE) == []
    assert len(await swept.sweep(after=PATIENCE)) == 2


async def test_an_attempt_that_was_begun_and_never_handed_over_is_handed_over() -> None:
    swept = Swept()
    await swept.world.dispatched()
    swept.world.executor.lose("t-1", 1)
    swept.world.executor.submits.clear()
    assert await swept.sweep() == [], "the first attempt is said by the stage that dispatched it"
    assert [spec.attempt for spec in swept.world.executor.submits] == [1]


async def test_a_stopped_job_that_was_queued_is_cancelled_and_the_task_ends() -> None:
    swept = Swept()
    swept.world.executor.slots = 0
    await swept.world.dispatched()
    await swept.world.run(command_event("stop"))
    (status,) = statuses(await swept.sweep())
    assert (status.phase, status.reason) == (Phase.TERMINATED, "stopped-by-user")
    assert swept.world.executor.started == []


async def test_a_stop_whose_cancel_was_lost_is_asked_for_again() -> None:
    swept = await running()
    swept.world.executor.exit_on_cancel = None
    await swept.world.run(command_event("stop"))
    swept.world.executor.cancels.clear()
    await swept.sweep()
    assert swept.world.executor.cancels == [("t-1", 1, 30.0)]
    swept.world.executor.end("t-1", 1, -15)
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).phase is Phase.TERMINATED


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.TERMINATED, Phase.FAILED])
async def test_the_end_is_said_once_more_and_the_task_is_left_alone(phase: Phase) -> None:
    swept = Swept()
    await task_state.change(swept.world.store, swept.world.clock, "t-1", lambda _: task_in(phase))
    await swept.world.store.put(layout.active("t-1"), b"")
    state = await swept.state()
    said = await swept.sweep()
    assert ids(said) == [task_state.status(state).event_id]
    assert swept.world.keys("active/") == []
    assert await swept.sweep() == []


async def test_the_end_that_cannot_be_said_is_kept_for_the_next_sweep() -> None:
    swept = Swept()
    await task_state.change(swept.world.store, swept.world.clock, "t-1", lambda _: task_in(Phase.FAILED))
    await swept.world.store.put(layout.active("t-1"), b"")
    swept.publisher.failures = [Unavailable("no acknowledgement")]
    assert await swept.sweep() == []
    assert swept.world.keys("active/") == [layout.active("t-1")]
    assert len(await swept.sweep()) == 1


async def test_one_task_s_bug_does_not_stop_the_others() -> None:
    swept = Swept()
    await swept.world.store.put(layout.active("a-broken-one"), b"")
    await swept.world.store.put(layout.task("a-broken-one", "state"), b"not JSON")
    await swept.world.store.put(layout.active("unknown"), b"")
    await swept.world.dispatched()
    swept.world.executor.lose("t-1", 1)
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 2


async def test_an_executor_that_does_not_answer_is_no_lost_job() -> None:
    swept = await running()
    swept.world.executor.available = False
    for _ in range(5):
        assert await swept.sweep(after=PATIENCE) == []
    assert (await swept.state()).attempt == 1
