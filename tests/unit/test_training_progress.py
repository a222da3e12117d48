"""What a trainer says, folded: (attempt, seq) decides, never the order or the number of arrivals."""

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts.task import Phase, Progress
from contracts.training import Checkpoint, Failure, Output, TrainingProgress
from handlers import attempts, task_state
from handlers.ports.executors import Choice
from handlers.ports.jobs import JobStatus, Resources
from handlers.reconciliation import Action, Patience, Silence, decide
from handlers.task_state import WITH_JOB, AttemptEnd, TaskState
from handlers.training_progress import STALLED, fold, only_steps
from tests.fakes.events import event
from tests.fakes.world import World, bodies, ids, statuses

QUEUED = TaskState(task_id="t-1", phase=Phase.QUEUED, attempt=1)
OUTPUT = Output(step=9, uri="memory://bucket/tasks/t-1/attempts/1/outputs/step-9", kind="adapter", files=())
Said = Literal["deploying", "running", "succeeded", "failed", "stopped"]


def _says(seq: int, state: Said = "running", attempt: int = 1, **fields: Any) -> TrainingProgress:
    return TrainingProgress(task_id="t-1", attempt=attempt, seq=seq, state=state, **fields)


def _folded(*said: TrainingProgress, state: TaskState = QUEUED) -> TaskState:
    for each in said:
        state = fold(state, each)
    return state


def _failure(*, retryable: bool) -> Failure:
    return Failure("out-of-memory", "platform", "the GPU is too small", retryable)


async def _in(phase: Phase, **fields: Any) -> World:
    world = World()
    state = replace(QUEUED, phase=phase, **fields)
    await task_state.change(world.store, world.clock, "t-1", lambda _: state)
    return world


# --- one event ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        (Phase.QUEUED, _says(0, "deploying"), Phase.DEPLOYING),
        (Phase.QUEUED, _says(0, "running"), Phase.RUNNING),
        (Phase.QUEUED, _says(0, "succeeded"), Phase.COMPLETING),
        (Phase.DEPLOYING, _says(0, "running"), Phase.RUNNING),
        (Phase.RUNNING, _says(0, "deploying"), Phase.RUNNING),
        (Phase.RUNNING, _says(0, "succeeded"), Phase.COMPLETING),
        (Phase.RUNNING, _says(0, "failed", failure=_failure(retryable=False)), Phase.FAILED),
        (Phase.RUNNING, _says(0, "failed", failure=_failure(retryable=True)), Phase.RUNNING),
        (Phase.RUNNING, _says(0, "failed"), Phase.RUNNING),
        (Phase.RUNNING, _says(0, "stopped"), Phase.RUNNING),
        (Phase.TERMINATING, _says(0, "running"), Phase.TERMINATING),
        (Phase.TERMINATING, _says(0, "stopped"), Phase.TERMINATED),
        (Phase.TERMINATING, _says(0, "failed", failure=_failure(retryable=False)), Phase.TERMINATED),
        (Phase.TERMINATING, _says(0, "succeeded", outputs=(OUTPUT,)), Phase.TERMINATED),
    ],
)
def test_what_follows_from_what_is_said(before: Phase, said: TrainingProgress, after: Phase) -> None:
    state = fold(replace(QUEUED, phase=before), said)
    assert state.phase is after
    assert after is before or after in task_state.TRANSITIONS[before]
    assert state.seq == said.seq


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.terminal] + [Phase.COMPLETING])
@pytest.mark.parametrize("said", ["deploying", "running", "succeeded", "failed", "stopped"])
def test_what_has_ended_listens_to_no_trainer(phase: Phase, said: Said) -> None:
    state = replace(QUEUED, phase=phase, seq=3)
    assert fold(state, _says(9, said, outputs=(OUTPUT,), failure=_failure(retryable=False))) == state


def test_success_promotes_its_attempt_with_its_outputs() -> None:
    state = fold(replace(QUEUED, attempt=2), _says(4, "succeeded", attempt=2, outputs=(OUTPUT,)))
    assert (state.promoted, state.outputs) == (2, (OUTPUT,))


def test_a_success_that_comes_after_the_stop_is_not_promoted() -> None:
    state = fold(replace(QUEUED, phase=Phase.TERMINATING, desired="stop"), _says(4, "succeeded", outputs=(OUTPUT,)))
    assert (state.phase, state.promoted, state.outputs) == (Phase.TERMINATED, None, ())


@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize("said", ["running", "succeeded", "failed"])
def test_only_the_current_attempt_counts(attempt: int, said: Said) -> None:
    state = replace(QUEUED, phase=Phase.RUNNING, attempt=2, seq=0)
    late = _says(99, said, attempt=attempt, outputs=(OUTPUT,), failure=_failure(retryable=False))
    assert fold(state, late) == state


def test_a_new_attempt_begins_its_own_count_and_keeps_the_checkpoint() -> None:
    checkpoint = Checkpoint(step=5, uri="memory://bucket/tasks/t-1/attempts/1/checkpoints/5")
    state = _folded(_says(7, checkpoint=checkpoint))
    end = AttemptEnd(attempt=1, executor="local", reason="job-lost", party="platform", message="gone")
    second = attempts.retried(state, Choice("slurm", Resources(gpus=2)), end)
    assert (second.attempt, second.seq, second.checkpoint, second.retry_count) == (2, -1, checkpoint, 1)
    assert (second.executor, second.resources, second.ends) == ("slurm", Resources(gpus=2), (end,))
    assert fold(second, _says(0, "running", attempt=2)).phase is Phase.RUNNING


def test_why_it_failed_is_said_with_whose_fault_it_is() -> None:
    state = fold(QUEUED, _says(0, "failed", failure=Failure("bad-data", "user", "no sample fits", retryable=False)))
    assert (state.reason, state.party, state.message) == ("bad-data", "user", "no sample fits")


def test_what_the_table_knows_is_its_word_and_what_a_trainer_rules_out_is_ruled_out() -> None:
    platforms = Failure("out-of-memory", "platform", "CUDA out of memory", retryable=True)
    state = fold(replace(QUEUED, phase=Phase.RUNNING), _says(0, "failed", failure=platforms))
    assert (state.phase, state.reason, state.party) == (Phase.RUNNING, "out-of-memory", "user")
    state = fold(QUEUED, _says(0, "failed", failure=replace(platforms, retryable=False)))
    assert (state.phase, state.reason) == (Phase.FAILED, "out-of-memory")
    assert "Lower batch_size" in state.message


# --- a pause -------------------------------------------------------------------------------------------------

CHECKPOINT = Checkpoint(step=5, uri="memory://bucket/tasks/t-1/attempts/1/checkpoints/5")
PAUSING = replace(QUEUED, phase=Phase.RUNNING, desired="pause", reason="pause-requested", message="pausing")


@pytest.mark.parametrize("desired", ["pause", "resume"])
def test_the_last_word_of_a_pausing_attempt_pauses_the_task(desired: Literal["pause", "resume"]) -> None:
    before = replace(PAUSING, desired=desired)
    state = fold(before, _says(4, "stopped", checkpoint=CHECKPOINT))
    assert (state.phase, state.desired, state.checkpoint) == (Phase.PAUSED, desired, CHECKPOINT)
    assert "step 5" in state.message


def test_what_a_pausing_attempt_says_on_the_way_leaves_the_wish_standing() -> None:
    state = fold(PAUSING, _says(4, "running", progress=Progress(step=4, total_steps=9)))
    assert (state.phase, state.reason, state.message) == (Phase.RUNNING, "pause-requested", "pausing")
    assert state.progress == Progress(step=4, total_steps=9)


@pytest.mark.parametrize("before", [PAUSING, replace(PAUSING, phase=Phase.PAUSED)], ids=["pausing", "paused"])
@pytest.mark.parametrize("desired", ["pause", "resume"])
def test_a_success_that_crosses_a_pause_wins(before: TaskState, desired: Literal["pause", "resume"]) -> None:
    state = fold(replace(before, desired=desired), _says(4, "succeeded", outputs=(OUTPUT,)))
    assert (state.phase, state.desired, state.promoted, state.outputs) == (Phase.COMPLETING, "run", 1, (OUTPUT,))


def test_a_failure_that_crosses_a_pause_is_one_only_where_no_resume_could_end_better() -> None:
    cured = fold(PAUSING, _says(4, "failed", failure=_failure(retryable=True)))
    assert (cured.phase, cured.reason) == (Phase.RUNNING, "pause-requested")
    assert cured.last_word is not None
    assert fold(PAUSING, _says(4, "failed", failure=_failure(retryable=False))).phase is Phase.FAILED


def test_what_a_paused_attempt_still_had_to_say_moves_the_place_it_goes_on_from_and_nothing_else() -> None:
    paused = replace(PAUSING, phase=Phase.PAUSED, seq=3)
    late = fold(paused, _says(4, "stopped", checkpoint=CHECKPOINT))
    assert (late.phase, late.checkpoint) == (Phase.PAUSED, CHECKPOINT)
    assert "step 5" in late.message
    overtaken = fold(late, _says(2, checkpoint=replace(CHECKPOINT, step=6)))
    assert "step 6" in overtaken.message
    for said in ("deploying", "running", "failed"):
        state = fold(paused, _says(4, said, failure=_failure(retryable=False)))
        assert (state.phase, state.desired) == (Phase.PAUSED, "pause")


def test_a_stall_is_over_with_the_next_step_and_not_with_the_next_word() -> None:
    at = Progress(step=4, total_steps=9)
    stalled = replace(QUEUED, phase=Phase.RUNNING, progress=at, reason=STALLED, party="platform", message="no step")
    same = fold(stalled, _says(4, "running", progress=at, checkpoint=CHECKPOINT))
    assert (same.reason, same.party, same.message, same.checkpoint) == (STALLED, "platform", "no step", CHECKPOINT)
    moved = fold(same, _says(5, "running", progress=Progress(step=5, total_steps=9)))
    assert (moved.reason, moved.party, moved.message) == ("running", None, "")


# --- order and number ----------------------------------------------------------------------------------------


@st.composite
def _told(draw: st.DrawFn) -> tuple[list[TrainingProgress], list[TrainingProgress]]:
    """Draw what an attempt says that ends for good, and the same as it may arrive: in any order, any number of times.

    Its last event is the only one that ends it, as trainers promise, and arrives.
    """
    events = [_says(0, "deploying")]
    for seq in range(1, draw(st.integers(1, 6))):
        progress = Progress(step=seq, total_steps=9, loss=1 / seq)
        checkpoint = Checkpoint(step=seq, uri=f"memory://c/{seq}") if draw(st.booleans()) else None
        events.append(_says(seq, "running", progress=progress, checkpoint=checkpoint))
    last = len(events)
    ending = draw(st.sampled_from(["succeeded", "failed"]))
    outputs = (OUTPUT,) if ending == "succeeded" else ()
    failure = _failure(retryable=False) if ending == "failed" else None
    events.append(_says(last, ending, outputs=outputs, failure=failure))  # type: ignore[arg-type]  # a sampled literal
    lost_or_repeated = draw(st.lists(st.sampled_from(events), max_size=12))
    arriving = draw(st.permutations([*lost_or_repeated, events[-1]]))
    return events, list(arriving)


@given(_told())
def test_any_order_and_any_repetition_of_an_attempt_ends_in_the_same_phase(
    told: tuple[list[TrainingProgress], list[TrainingProgress]],
) -> None:
    events, arriving = told
    expected, found = _folded(*events), _folded(*arriving)
    for field in ("phase", "promoted", "outputs", "reason", "party", "message", "seq", "attempt"):
        assert getattr(found, field) == getattr(expected, field), field


@given(_told(), st.sampled_from([Phase.TERMINATING]))
def test_the_same_holds_while_it_is_being_stopped(
    told: tuple[list[TrainingProgress], list[TrainingProgress]], phase: Phase
) -> None:
    stopping = replace(QUEUED, phase=phase, desired="stop")
    for arriving in told:
        state = _folded(*arriving, state=stopping)
        assert (state.phase, state.promoted) == (Phase.TERMINATED, None)


@given(_told(), st.integers(0, 12))
def test_folding_in_runs_is_folding_one_by_one(
    told: tuple[list[TrainingProgress], list[TrainingProgress]], cut: int
) -> None:
    _, arriving = told
    assert _folded(*arriving[cut:], state=_folded(*arriving[:cut])) == _folded(*arriving)
    assert _folded(*arriving, *arriving) == _folded(*arriving), "a replay of it all changes nothing"


@given(_told())
def test_in_any_order_the_newest_checkpoint_that_arrived_is_gone_on_from(
    told: tuple[list[TrainingProgress], list[TrainingProgress]],
) -> None:
    said = [each for each in told[1] if each.state == "running"]
    steps = [each.checkpoint.step for each in said if each.checkpoint]
    checkpoint = _folded(*said).checkpoint
    assert (checkpoint.step if checkpoint else None) == max(steps, default=None)


def test_a_checkpoint_that_was_overtaken_changes_nothing_else() -> None:
    state = _folded(_says(9, progress=Progress(step=9, total_steps=9)))
    checkpoint = Checkpoint(step=5, uri="memory://c/5")
    late = _says(5, "deploying", progress=Progress(step=5, total_steps=9), checkpoint=checkpoint)
    assert fold(state, late) == replace(state, checkpoint=checkpoint)
    assert fold(replace(state, attempt=2), late) == replace(state, attempt=2)


def test_where_the_order_does_decide() -> None:
    """The promise is about the end, not about what is learnt on the way. Each of these is harmless, and says why."""
    # A failure another attempt could cure leaves the phase as it was: the reconciler does the same in all of them.
    failed = _says(3, "failed", failure=_failure(retryable=True))
    for order in ([_says(0, "deploying"), _says(1), failed], [failed, _says(1)], [_says(0, "deploying"), failed]):
        state = _folded(*order)
        assert state.phase in WITH_JOB
        gone = JobStatus(state="ended", exit_code=1)
        assert decide(state, gone, Silence(100, 0), Patience(10, 1000)).action is Action.RETRY
    # An attempt that ends itself twice is believed the first time: a trainer says one last word.
    twice = (_says(4, "failed", failure=_failure(retryable=False)), _says(5, "succeeded", outputs=(OUTPUT,)))
    assert _folded(*twice).phase is Phase.FAILED
    assert _folded(*reversed(twice)).phase is Phase.COMPLETING


# --- the handler ---------------------------------------------------------------------------------------------


async def test_a_run_is_one_write_and_one_status() -> None:
    world = await _in(Phase.QUEUED)
    puts = len(world.store.puts)
    events = [event("training.progress", _says(seq, progress=Progress(step=seq, total_steps=9))) for seq in range(50)]
    outcome = await world.deliver("training-progress", *events)
    assert len(world.store.puts) == puts + 1
    (status,) = statuses(outcome.events)
    assert status.progress == Progress(step=49, total_steps=9)
    assert (await world.state("t-1")).seq == 49


@pytest.mark.parametrize("again", [0, 1, 2])
async def test_what_is_old_changes_nothing_and_says_the_same_event_again(again: int) -> None:
    world = await _in(Phase.QUEUED)
    first = [await world.progress("running", seq) for seq in range(3)][-1]
    stored = dict(world.store.objects)
    outcome = await world.progress("running", again)
    assert world.store.objects == stored
    assert ids(outcome.events) == ids(first.events)
    assert bodies(outcome.events) == bodies(first.events)


FOREIGN = [
    "memory://bucket/tasks/t-1/attempts/2/checkpoints/5",
    "memory://bucket/tasks/t-2/attempts/1/checkpoints/5",
    "memory://bucket/tasks/t-1/attempts/1/../2/checkpoints/5",
    "s3://somebody-else/tasks/t-1/attempts/1/checkpoints/5",
]


@pytest.mark.parametrize("uri", FOREIGN)
async def test_a_checkpoint_that_is_not_the_attempt_s_own_is_never_gone_on_from(uri: str) -> None:
    world = await _in(Phase.RUNNING)
    await world.progress("running", 1, checkpoint={"step": 5, "uri": CHECKPOINT.uri})
    await world.progress("running", 2, checkpoint={"step": 6, "uri": uri})
    state = await world.state("t-1")
    assert (state.seq, state.checkpoint) == (2, CHECKPOINT)


async def test_a_task_nobody_knows_is_no_error() -> None:
    world = World()
    assert (await world.progress("running")).events == ()
    assert world.store.objects == {}


async def test_a_stop_that_crosses_the_success_wins_or_loses_whole() -> None:
    outcomes = set()
    for turns in range(12):
        world = await _in(Phase.RUNNING)
        stop = asyncio.create_task(world.run(_stop(), skip=["model-export"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        await world.progress("succeeded", outputs=[OUTPUT])
        await stop
        state = await world.state("t-1")
        outcomes.add(state.phase)
        if state.phase is Phase.COMPLETING:
            assert (state.promoted, state.desired, state.reason) == (1, "run", "trained")
        else:
            assert (state.phase, state.promoted) == (Phase.TERMINATED, None)
    assert outcomes == {Phase.COMPLETING, Phase.TERMINATED}


def _stop() -> Any:
    return event("task.command", {"command_id": "c", "task_id": "t-1", "command": "stop"})


@settings(max_examples=25)
@given(_told())
def test_workers_that_share_a_task_after_a_rebalance_lose_nothing(
    told: tuple[list[TrainingProgress], list[TrainingProgress]],
) -> None:
    events, arriving = told

    async def story() -> TaskState:
        world = await _in(Phase.QUEUED)
        await asyncio.gather(
            *(world.deliver("training-progress", event("training.progress", said)) for said in arriving)
        )
        return await world.state("t-1")

    state, expected = asyncio.run(story()), _folded(*events)
    assert (state.phase, state.promoted, state.outputs) == (expected.phase, expected.promoted, expected.outputs)


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ({"state": "running"}, True),
        ({"state": "running", "progress": {"step": 1, "total_steps": 9}}, True),
        # A lost job's next attempt begins at its newest checkpoint: one that waits to be written down is none.
        ({"state": "running", "checkpoint": {"step": 1, "uri": "memory://bucket/c"}}, False),
        ({"state": "deploying"}, False),
        ({"state": "succeeded"}, False),
        ({"state": "failed"}, False),
        ({"state": "stopped"}, False),
    ],
)
def test_only_steps_may_wait_to_be_folded(said: dict[str, Any], *, waits: bool) -> None:
    body = {"task_id": "t-1", "attempt": 1, "seq": 0} | said
    assert only_steps(event("training.progress", body).data) is waits
