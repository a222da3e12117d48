"""What no event announces: the decision as a table, and sweeps that lose and repeat nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.task import Phase
from contracts.training import TrainingDispatched
from handlers import layout, task_state
from handlers.errors import Unavailable
from handlers.ports import JobStatus
from handlers.reconciliation import Action, decide
from handlers.task_state import TaskState
from handlers.training_progress import INTERRUPTED
from tests.fakes.delivery import FakePublisher
from tests.fakes.faults import Crash, faulty_world
from tests.fakes.world import World, command_event, ids, received, statuses
from tests.wait import wait_until
from worker.reconciler import Reconciler

PATIENCE = 10.0
UNKNOWN, QUEUED, RUNNING = (JobStatus(state=state) for state in ("unknown", "queued", "running"))
ENDED_WELL, ENDED_BADLY = JobStatus(state="ended", exit_code=0), JobStatus(state="ended", exit_code=-9)


def _state(phase: Phase, **fields: Any) -> TaskState:
    return replace(TaskState(task_id="t-1", phase=phase, attempt=1, seq=3), **fields)


@pytest.mark.parametrize(
    ("state", "job", "unchanged", "action"),
    [
        # While a job lives, it is left alone, however silent; the trainer's silence is judged elsewhere.
        (_state(Phase.RUNNING), RUNNING, 1000, Action.LEAVE),
        (_state(Phase.QUEUED, seq=-1), QUEUED, 1000, Action.LEAVE),
        (_state(Phase.TERMINATING), RUNNING, 0, Action.CANCEL),
        (_state(Phase.TERMINATING, seq=-1), QUEUED, 0, Action.CANCEL),
        # A job that is gone has usually said why: patience first.
        (_state(Phase.RUNNING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (_state(Phase.RUNNING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (_state(Phase.RUNNING), UNKNOWN, PATIENCE - 1, Action.LEAVE),
        (_state(Phase.RUNNING), UNKNOWN, PATIENCE, Action.RETRY),
        (_state(Phase.DEPLOYING), ENDED_BADLY, PATIENCE, Action.RETRY),
        (_state(Phase.RUNNING, retry_count=3), ENDED_BADLY, PATIENCE, Action.FAIL),
        (_state(Phase.RUNNING, retry_count=2), ENDED_BADLY, PATIENCE, Action.RETRY),
        # One that ended well said so: only our lag can hide it.
        (_state(Phase.RUNNING), ENDED_WELL, PATIENCE * 29, Action.LEAVE),
        (_state(Phase.RUNNING), ENDED_WELL, PATIENCE * 30, Action.RETRY),
        (_state(Phase.RUNNING, reason=INTERRUPTED), ENDED_WELL, PATIENCE, Action.RETRY),
        # Begun and never handed over: hand it over; and in the end begin anew.
        (_state(Phase.QUEUED, seq=-1), UNKNOWN, 0, Action.SUBMIT),
        (_state(Phase.QUEUED, seq=-1), UNKNOWN, PATIENCE, Action.RETRY),
        (_state(Phase.QUEUED, seq=-1), ENDED_BADLY, 0, Action.LEAVE),
        # Stopped.
        (_state(Phase.TERMINATING, seq=-1), UNKNOWN, 0, Action.TERMINATE),
        (_state(Phase.TERMINATING, seq=-1), ENDED_BADLY, 0, Action.TERMINATE),
        (_state(Phase.TERMINATING), ENDED_BADLY, PATIENCE - 1, Action.LEAVE),
        (_state(Phase.TERMINATING), ENDED_BADLY, PATIENCE, Action.TERMINATE),
        # Without a job, and after the end.
        (_state(Phase.PREPROCESSING, attempt=0), UNKNOWN, 1000, Action.LEAVE),
        (_state(Phase.PAUSED), ENDED_BADLY, 1000, Action.LEAVE),
        (_state(Phase.COMPLETING), ENDED_WELL, 1000, Action.LEAVE),
        (_state(Phase.COMPLETED), UNKNOWN, 0, Action.RELEASE),
        (_state(Phase.FAILED), RUNNING, 0, Action.RELEASE),
        (_state(Phase.TERMINATED), ENDED_BADLY, 0, Action.RELEASE),
    ],
)
def test_what_is_done(state: TaskState, job: JobStatus, unchanged: float, action: Action) -> None:
    assert decide(state, job, unchanged, PATIENCE) is action


# --- sweeps --------------------------------------------------------------------------------------------------


class Swept:
    """A world with a reconciler, and what it publishes."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.publisher = FakePublisher()
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        return Reconciler(
            self.world.store,
            self.world.executor,
            self.publisher,
            self.world.clock,
            every_seconds=0.01,
            patience_seconds=PATIENCE,
            lease_seconds=1.0,
            cancel_grace_seconds=30.0,
        )

    async def sweep(self, *, after: float = 0) -> list[Any]:
        """Sweep once after this long, and return what was said."""
        await self.world.clock.advance(after)
        before = len(self.publisher.events)
        await self.reconciler.sweep()
        return self.publisher.events[before:]

    async def state(self) -> TaskState:
        return await self.world.state("t-1")

    def dispatched(self) -> list[TrainingDispatched]:
        said = [each for each in self.publisher.events if each.topic == "training.dispatched"]
        return [received(each).data for each in said]


async def _running(world: World | None = None, **said: Any) -> Swept:
    swept = Swept(world)
    await swept.world.dispatched()
    await swept.world.progress("running", 1, **said)
    await swept.sweep()
    return swept


async def test_a_lost_job_is_begun_again_from_its_checkpoint() -> None:
    world = World()
    uri = world.store.uri("tasks/t-1/attempts/1/checkpoints/5")
    swept = await _running(world, checkpoint={"step": 5, "uri": uri})
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
    swept = await _running()
    swept.world.executor.end("t-1", 1, -9)
    await swept.sweep(after=PATIENCE)
    assert swept.world.executor.submits[-1].resume_from is None
    assert "beginning" in (await swept.state()).message


async def test_once_the_retries_are_used_up_the_task_fails() -> None:
    swept = await _running()
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
    swept = await _running()
    swept.world.executor.end("t-1", 1, 0)
    await swept.sweep(after=PATIENCE * 29)
    await swept.world.progress("succeeded", 2, outputs=[await swept.world.leave_output()])
    await swept.sweep(after=PATIENCE * 100)
    assert (await swept.state()).phase is Phase.COMPLETING
    assert len(swept.world.submitted) == 1


async def test_every_sign_of_life_renews_the_patience() -> None:
    swept = await _running()
    swept.world.executor.end("t-1", 1, 1)
    for seq in range(2, 6):
        assert await swept.sweep(after=PATIENCE - 1) == []
        await swept.world.progress("running", seq)
    await swept.sweep()
    assert (await swept.state()).attempt == 1


async def test_a_reconciler_that_just_began_has_seen_no_silence_yet() -> None:
    swept = await _running()
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
    swept = await _running()
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
    await task_state.change(swept.world.store, swept.world.clock, "t-1", lambda _: _state(phase))
    await swept.world.store.put(layout.active("t-1"), b"")
    state = await swept.state()
    said = await swept.sweep()
    assert ids(said) == [task_state.status(state).event_id]
    assert swept.world.keys("active/") == []
    assert await swept.sweep() == []


async def test_the_end_that_cannot_be_said_is_kept_for_the_next_sweep() -> None:
    swept = Swept()
    await task_state.change(swept.world.store, swept.world.clock, "t-1", lambda _: _state(Phase.FAILED))
    await swept.world.store.put(layout.active("t-1"), b"")
    swept.publisher.failures = [Unavailable("no acknowledgement")]
    assert await swept.sweep() == []
    assert swept.world.keys("active/") == ["active/t-1"]
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
    swept = await _running()
    swept.world.executor.available = False
    for _ in range(5):
        assert await swept.sweep(after=PATIENCE) == []
    assert (await swept.state()).attempt == 1


async def test_two_that_sweep_at_once_begin_one_attempt_and_say_it_under_one_id() -> None:
    swept = await _running()
    other = swept.another()
    await other.sweep()
    swept.world.executor.lose("t-1", 1)
    await swept.world.clock.advance(PATIENCE)
    await asyncio.gather(swept.reconciler.sweep(), other.sweep())
    assert (await swept.state()).attempt == 2
    assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
    assert len(set(ids(swept.publisher.events))) == 2


async def test_a_success_that_arrives_while_the_job_is_given_up_wins_or_is_fenced_whole() -> None:
    ends = set()
    for turns in range(20):
        swept = await _running()
        swept.world.executor.end("t-1", 1, 1)
        await swept.world.clock.advance(PATIENCE)
        sweeping = asyncio.create_task(swept.reconciler.sweep())
        for _ in range(turns):
            await asyncio.sleep(0)
        await swept.world.progress("succeeded", 2, outputs=[{"step": 9, "uri": "x", "kind": "full", "files": []}])
        await sweeping
        state = await swept.state()
        ends.add((state.phase, state.attempt, state.promoted))
    assert ends == {(Phase.COMPLETING, 1, 1), (Phase.QUEUED, 2, None)}


async def test_a_stop_that_crosses_a_retry_leaves_no_job_behind() -> None:
    for turns in range(30):
        swept = await _running()
        swept.world.executor.end("t-1", 1, 1)
        await swept.world.clock.advance(PATIENCE)
        sweeping = asyncio.create_task(swept.reconciler.sweep())
        for _ in range(turns):
            await asyncio.sleep(0)
        await swept.world.run(command_event("stop"), skip=["model-export"])
        await sweeping
        for _ in range(3):
            await swept.sweep(after=PATIENCE)
        state = await swept.state()
        assert (state.phase, state.desired) == (Phase.TERMINATED, "stop")
        for attempt in (1, 2):
            assert (await swept.world.executor.status("t-1", attempt)).state != "running"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_of_a_retry_the_next_reconciler_finishes_it_and_every_attempt_is_said(
    *, after: bool
) -> None:
    async def begin() -> tuple[Swept, Any]:
        world, faults = faulty_world()
        swept = await _running(world, checkpoint={"step": 5, "uri": world.store.uri("tasks/t-1/attempts/1/c")})
        world.executor.end("t-1", 1, 1)
        await world.clock.advance(PATIENCE)
        return swept, faults

    swept, faults = await begin()
    already = len(faults.calls)
    baseline = set(ids(await swept.sweep()))
    for at in range(len(faults.calls) - already):
        swept, faults = await begin()
        faults.crash_at, faults.after = len(faults.calls) + at, after
        # The sweep logs what one task raises; here it stands for the whole process.
        try:
            await swept.reconciler.sweep()
        except Crash:
            assert "list" in faults.calls[-1]
        faults.crash_at = None
        swept.reconciler = swept.another()
        await swept.sweep()
        await swept.sweep(after=PATIENCE)
        assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
        assert (await swept.state()).attempt == 2
        assert swept.world.submitted[-1].resume_from == "tasks/t-1/attempts/1/c"
        assert set(ids(swept.publisher.events)) == baseline, faults.calls[already + at]
        assert {said.attempt for said in swept.dispatched()} == {2}


# --- the loop ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _sweeping(*reconcilers: Reconciler) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(reconciler.run()) for reconciler in reconcilers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_of_many_sweeps_and_survives_the_bucket_s_silence() -> None:
    swept = Swept()
    await swept.world.dispatched()
    swept.world.executor.lose("t-1", 1)
    swept.world.executor.submits.clear()
    swept.world.store.available = False
    async with _sweeping(swept.reconciler, swept.another(), swept.another()):
        await asyncio.sleep(0)
        swept.world.store.available = True
        await wait_until(lambda: swept.world.executor.submits, what="a sweep")
    assert [spec.attempt for spec in swept.world.submitted] == [1]
    lease = swept.world.store.objects[layout.lease("reconciler")]
    assert b'"holder":""' in lease, "let go at the end, for the next one"
