"""What no event announces: the decision as a table, and sweeps that lose and repeat nothing."""

import asyncio
from typing import Any

import pytest

from contracts.task import Phase
from handlers import layout, task_state
from handlers.errors import Unavailable
from handlers.ports.jobs import JobStatus
from handlers.reconciliation import Action, Patience, Silence, decide, place_is_news
from handlers.task_state import AttemptEnd, TaskState
from handlers.training_progress import INTERRUPTED, STALLED
from tests.fakes.swept import PATIENCE, Swept, running, task_in
from tests.fakes.world import World, command_event, ids, statuses
from tests.wait import wait_until
from worker.cancelling import cancel

UNKNOWN, QUEUED, RUNNING = (JobStatus(state=state) for state in ("unknown", "queued", "running"))
ENDED_WELL, ENDED_BADLY = JobStatus(state="ended", exit_code=0), JobStatus(state="ended", exit_code=-9)


SILENT = 1000.0
STOPPED = AttemptEnd(attempt=1, executor="local", reason=INTERRUPTED, party="platform", message="asked to end")
OUT_OF_MEMORY = AttemptEnd(attempt=1, executor="local", reason="out-of-memory", party="user", message="m", step=5)


@pytest.mark.parametrize(
    ("state", "job", "unchanged", "action"),
    [
        # While a job lives, it is left alone.
        (task_in(Phase.RUNNING), RUNNING, SILENT, Action.LEAVE),
        (task_in(Phase.QUEUED, seq=-1), QUEUED, SILENT, Action.LEAVE),
        (task_in(Phase.TERMINATING), RUNNING, 0, Action.CANCEL),
        (task_in(Phase.TERMINATING, seq=-1), QUEUED, 0, Action.CANCEL),
        # One that has said its last word and does not go is helped out.
        (task_in(Phase.RUNNING, last_word=STOPPED), RUNNING, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING, last_word=STOPPED), RUNNING, PATIENCE, Action.CANCEL),
        # A job that is gone has usually said why: patience first.
        (task_in(Phase.RUNNING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (task_in(Phase.RUNNING), UNKNOWN, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), UNKNOWN, PATIENCE, Action.RETRY),
        (task_in(Phase.DEPLOYING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (task_in(Phase.RUNNING, retry_count=3), ENDED_BADLY, PATIENCE, Action.FAIL),
        (task_in(Phase.RUNNING, retry_count=2), ENDED_BADLY, PATIENCE, Action.RETRY),
        # Nor is one that ended well believed without its word, which it left in the bucket.
        (task_in(Phase.RUNNING), ENDED_WELL, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), ENDED_WELL, PATIENCE, Action.RETRY),
        # What has said its last word is waited for no longer.
        (task_in(Phase.RUNNING, last_word=STOPPED), ENDED_WELL, 0, Action.RETRY),
        (task_in(Phase.RUNNING, last_word=OUT_OF_MEMORY), ENDED_BADLY, 0, Action.RETRY),
        (task_in(Phase.RUNNING, last_word=OUT_OF_MEMORY), UNKNOWN, 0, Action.RETRY),
        (task_in(Phase.RUNNING, last_word=OUT_OF_MEMORY, ends=(OUT_OF_MEMORY,)), ENDED_BADLY, 0, Action.FAIL),
        # Begun and never handed over: hand it over; and in the end begin anew.
        (task_in(Phase.QUEUED, seq=-1), UNKNOWN, 0, Action.SUBMIT),
        (task_in(Phase.QUEUED, seq=-1), UNKNOWN, PATIENCE, Action.RETRY),
        (task_in(Phase.QUEUED, seq=-1), ENDED_BADLY, 0, Action.LEAVE),
        # Stopped.
        (task_in(Phase.TERMINATING, seq=-1), UNKNOWN, 0, Action.TERMINATE),
        (task_in(Phase.TERMINATING, seq=-1), ENDED_BADLY, 0, Action.TERMINATE),
        (task_in(Phase.TERMINATING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (task_in(Phase.TERMINATING), ENDED_BADLY, PATIENCE, Action.TERMINATE),
        # To be paused, and to go on after that: the job ends first either way.
        *(
            (task_in(phase, desired=desired, seq=seq), job, unchanged, action)
            for desired in ("pause", "resume")
            for phase in (Phase.QUEUED, Phase.DEPLOYING, Phase.RUNNING)
            for seq, job, unchanged, action in (
                (3, RUNNING, 0, Action.CANCEL),
                (-1, QUEUED, 0, Action.CANCEL),
                (-1, UNKNOWN, 0, Action.PAUSE),
                (-1, ENDED_WELL, 0, Action.PAUSE),
                (3, ENDED_WELL, PATIENCE - 1, Action.LEAVE),
                (3, ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
                (3, ENDED_BADLY, PATIENCE, Action.PAUSE),
            )
        ),
        (task_in(Phase.RUNNING, desired="pause", last_word=OUT_OF_MEMORY), ENDED_BADLY, 0, Action.PAUSE),
        (task_in(Phase.RUNNING, desired="pause", retry_count=3), ENDED_BADLY, PATIENCE, Action.PAUSE),
        (task_in(Phase.PAUSED, desired="pause"), ENDED_BADLY, SILENT, Action.LEAVE),
        (task_in(Phase.PAUSED, desired="resume"), ENDED_BADLY, 0, Action.RESUME),
        (task_in(Phase.PAUSED, desired="resume"), RUNNING, 0, Action.RESUME),
        # Without a job, and after the end.
        (task_in(Phase.PREPROCESSING, attempt=0), UNKNOWN, SILENT, Action.LEAVE),
        (task_in(Phase.COMPLETING), ENDED_WELL, SILENT, Action.LEAVE),
        (task_in(Phase.COMPLETED), UNKNOWN, 0, Action.RELEASE),
        (task_in(Phase.FAILED), RUNNING, 0, Action.RELEASE),
        (task_in(Phase.TERMINATED), ENDED_BADLY, 0, Action.RELEASE),
    ],
)
def test_what_is_done(state: TaskState, job: JobStatus, unchanged: float, action: Action) -> None:
    decision = decide(state, job, Silence(unchanged, 0), Patience(PATIENCE, SILENT))
    assert decision.action is action
    assert (decision.end is not None) == (action in (Action.RETRY, Action.FAIL))


@pytest.mark.parametrize(
    ("state", "job", "stepless", "action"),
    [
        (task_in(Phase.RUNNING), RUNNING, SILENT - 1, Action.LEAVE),
        (task_in(Phase.RUNNING), RUNNING, SILENT, Action.STALLED),
        (task_in(Phase.DEPLOYING), RUNNING, SILENT, Action.STALLED),
        (task_in(Phase.RUNNING, reason=STALLED), RUNNING, SILENT, Action.LEAVE),
        (task_in(Phase.RUNNING, reason=STALLED), RUNNING, SILENT * 2, Action.RETRY),
        (task_in(Phase.RUNNING, reason=STALLED, retry_count=3), RUNNING, SILENT * 2, Action.FAIL),
        # A job that waits, or that should end, does no step for a reason.
        (task_in(Phase.QUEUED, seq=-1), QUEUED, SILENT * 3, Action.LEAVE),
        (task_in(Phase.RUNNING, desired="pause"), RUNNING, SILENT * 3, Action.CANCEL),
    ],
)
def test_what_is_done_about_a_job_without_a_step(
    state: TaskState, job: JobStatus, stepless: float, action: Action
) -> None:
    assert decide(state, job, Silence(0, stepless), Patience(PATIENCE, SILENT, SILENT * 2)).action is action
    if action is Action.RETRY:
        never = decide(state, job, Silence(0, stepless), Patience(PATIENCE, SILENT))
        assert never.action is Action.LEAVE, "off unless it is set"


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
    assert "exit code 1" in status.message
    assert "3 of 3 retries" in status.message
    assert "job's log" in status.message, "what a person can do"
    assert (status.retry_count, status.retry_limit, status.attempt) == (3, 3, 4)
    assert len(swept.world.submitted) == 4


async def test_a_result_that_comes_in_time_is_no_lost_job() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, 0)
    await swept.sweep(after=PATIENCE - 1)
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


async def test_a_glimpse_without_a_job_is_no_lost_job_however_long_the_state_was_the_same() -> None:
    swept = await running()
    for _ in range(3):
        await swept.sweep(after=PATIENCE * 5)
    swept.world.executor.lose("t-1", 1)
    await swept.sweep()
    assert (await swept.state()).attempt == 1
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 2


async def test_an_engine_that_forgets_in_an_outage_is_given_patience_after_it() -> None:
    swept = await running()
    swept.world.executor.available = False
    await swept.sweep(after=PATIENCE * 5)
    swept.world.executor.available = True
    swept.world.executor.lose("t-1", 1)
    await swept.sweep(after=PATIENCE - 1)
    assert (await swept.state()).attempt == 1


async def test_a_sweep_that_breaks_does_not_end_the_sweeping(monkeypatch: pytest.MonkeyPatch) -> None:
    swept = await running()
    sweeps = 0

    async def broken(_: Any) -> None:
        nonlocal sweeps
        sweeps += 1
        raise ValueError("a job on the engine that nobody can read")

    monkeypatch.setattr(swept.reconciler, "sweep", broken)
    monkeypatch.setattr(swept.reconciler, "_every_seconds", 0.001)
    running_on = asyncio.create_task(swept.reconciler.run())
    await wait_until(lambda: sweeps >= 2 or running_on.done())
    assert not running_on.done()
    await cancel([running_on])


async def test_an_outage_of_the_broker_uses_up_no_retries() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, -9)
    # The second attempt is in the state, and cannot be said, so it is not handed over either.
    swept.publisher.failures = [Unavailable("no acknowledgement") for _ in range(10)]
    for _ in range(10):
        assert await swept.sweep(after=PATIENCE) == []
    state = await swept.state()
    assert (state.phase, state.attempt, state.retry_count) == (Phase.QUEUED, 2, 1)
    await swept.sweep(after=PATIENCE)
    assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
    assert {said.attempt for said in swept.dispatched()} == {2}


# --- silence ---------------------------------------------------------------------------------------------------

STALLS: dict[str, Any] = {"stalled_seconds": 60.0}


async def test_a_job_that_runs_without_a_step_is_said_to_be_stalled_once_and_a_step_ends_it() -> None:
    swept = await running(settings=STALLS, progress={"step": 4, "total_steps": 9})
    assert await swept.sweep(after=59) == []
    (status,) = statuses(await swept.sweep(after=1))
    assert (status.phase, status.reason, status.party) == (Phase.RUNNING, "stalled", "platform")
    assert "step 4" in status.message
    for _ in range(3):
        assert await swept.sweep(after=1000) == []
    assert len(swept.world.submitted) == 1, "giving it up is off unless it is set"
    await swept.world.progress("running", 2, progress={"step": 5, "total_steps": 9})
    state = await swept.state()
    assert (state.reason, state.party, state.message) == ("running", None, "")
    assert await swept.sweep(after=59) == []
    assert len(await swept.sweep(after=60)) == 1


async def test_words_without_a_step_are_no_step() -> None:
    swept = await running(settings=STALLS, progress={"step": 4, "total_steps": 9})
    for seq in (2, 3):
        assert await swept.sweep(after=29) == []
        await swept.world.progress("running", seq, progress={"step": 4, "total_steps": 9})
    await swept.sweep(after=31)
    assert (await swept.state()).reason == "stalled"


async def test_one_that_is_given_up_is_ended_and_begun_again_while_its_retries_last() -> None:
    swept = await running(settings=STALLS | {"stalled_retry_seconds": 120.0})
    swept.world.executor.exit_on_cancel = None  # it hangs, also when it is asked
    await swept.sweep(after=60)
    await swept.sweep(after=60)
    state = await swept.state()
    assert (state.attempt, state.reason, state.retry_count) == (2, "stalled", 1)
    assert swept.world.executor.cancels == [("t-1", 1, 30.0)]
    for _ in range(3):
        await swept.sweep(after=60)
        await swept.sweep(after=60)
        await swept.sweep(after=60)
    state = await swept.state()
    assert (state.phase, state.reason, state.attempt) == (Phase.FAILED, "retries-exhausted", 4)
    assert {cancelled[:2] for cancelled in swept.world.executor.cancels} == {("t-1", n) for n in (1, 2, 3, 4)}


# --- places in the queue ---------------------------------------------------------------------------------------


async def test_a_place_in_the_queue_is_said_when_it_changes_and_not_too_often() -> None:
    swept = Swept(queue_position_seconds=30.0)
    swept.world.executor.slots = 0
    await swept.world.dispatched()

    async def at(position: int, after: float) -> list[int | None]:
        place = JobStatus(state="queued", queue_position=position)
        swept.world.executor.set_state("t-1", 1, place)
        return [status.queue_position for status in statuses(await swept.sweep(after=after))]

    assert await at(9, after=0) == [9]
    assert await at(8, after=29) == []
    assert await at(7, after=1) == [7]
    assert await at(7, after=1000) == []
    await swept.world.progress("deploying", 0)
    assert (await swept.state()).queue_position is None


def test_a_thousand_that_wait_say_a_bounded_number_of_places() -> None:
    def said(first: int) -> list[int]:
        places = [first]
        for now in range(first - 1, 0, -1):
            if place_is_news(places[-1], now):
                places.append(now)
        return places

    assert said(5) == [5, 4, 3, 2, 1]
    assert len(said(1000)) < 60
    assert sum(len(said(first)) for first in range(1, 1001)) / 1000 < 50
    assert place_is_news(None, 1000)
    assert not place_is_news(1000, 1000)
