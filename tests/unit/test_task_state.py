"""The one mutable object of a task: what may follow what, and that no change of it is lost or made twice."""

import asyncio
from itertools import count, product

import msgspec
import pytest
from msgspec.structs import replace

from contracts.task import Phase
from handlers import layout, task_state
from handlers.errors import PreconditionFailed, Transient, Unavailable
from handlers.task_state import TRANSITIONS, Change, IllegalTransition, TaskState
from tests.fakes.clock import ManualClock
from tests.fakes.store import MemoryStore
from tests.fakes.world import command_event as command
from tests.fakes.world import ids, received, statuses

TASK = "t-1"
LEGAL = {
    Phase.PREPROCESSING: "QUEUED TERMINATED FAILED",
    Phase.QUEUED: "DEPLOYING RUNNING COMPLETING PAUSED TERMINATING TERMINATED FAILED",
    Phase.DEPLOYING: "QUEUED RUNNING COMPLETING PAUSED TERMINATING TERMINATED FAILED",
    Phase.RUNNING: "QUEUED COMPLETING PAUSED TERMINATING TERMINATED FAILED",
    Phase.PAUSED: "QUEUED COMPLETING TERMINATED",
    Phase.COMPLETING: "COMPLETED FAILED",
    Phase.TERMINATING: "TERMINATED",
    Phase.COMPLETED: "",
    Phase.TERMINATED: "",
    Phase.FAILED: "",
}
PAIRS = list(product(Phase, Phase))


def _to(phase: Phase) -> Change:
    return lambda state: replace(state or TaskState(task_id=TASK), phase=phase)


async def _in_phase(phase: Phase) -> MemoryStore:
    store = MemoryStore()
    await task_state.change(store, ManualClock(), TASK, lambda _: TaskState(task_id=TASK, phase=phase))
    return store


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{a.value}-{b.value}" for a, b in PAIRS])
async def test_only_legal_changes_of_phase_are_made(before: Phase, after: Phase) -> None:
    store = await _in_phase(before)
    stored = dict(store.objects)
    if after is before or after.name in LEGAL[before].split():
        changed = await task_state.change(store, ManualClock(), TASK, _to(after))
        assert changed is not None
        assert changed.phase is after
    else:
        with pytest.raises(IllegalTransition, match=f"{before.value} -> {after.value}"):
            await task_state.change(store, ManualClock(), TASK, _to(after))
        assert store.objects == stored


def test_nothing_follows_a_terminal_phase_and_every_other_phase_ends() -> None:
    assert set(TRANSITIONS) == set(Phase)
    for phase, following in TRANSITIONS.items():
        assert phase.terminal == (not following)
        assert phase not in following
    ending = {phase for phase in Phase if phase.terminal}
    while more := {phase for phase in Phase if phase not in ending and TRANSITIONS[phase] & ending}:
        ending |= more
    assert ending == set(Phase)


async def test_the_revision_rises_with_every_change_and_the_time_is_the_clock_s() -> None:
    store, clock = MemoryStore(), ManualClock()
    seen = []
    for phase in (Phase.PREPROCESSING, Phase.QUEUED, Phase.QUEUED, Phase.RUNNING):
        await clock.advance(1)
        state = await task_state.change(store, clock, TASK, _to(phase))
        assert state is not None
        assert state.changed_at == clock.now()
        seen.append(state)
    assert [state.revision for state in seen] == [1, 2, 3, 4]
    assert len({state.nonce for state in seen}) == 4


async def test_leaving_it_changes_nothing_and_an_absent_one_stays_absent() -> None:
    store, clock = MemoryStore(), ManualClock()
    assert await task_state.change(store, clock, TASK, lambda _: None) is None
    assert store.objects == {}
    first = await task_state.change(store, clock, TASK, _to(Phase.PREPROCESSING))
    assert await task_state.change(store, clock, TASK, lambda _: None) == first


async def test_concurrent_changes_lose_nothing() -> None:
    store, clock = MemoryStore(), ManualClock()

    def one_more_retry(state: TaskState | None) -> TaskState:
        state = state or TaskState(task_id=TASK)
        return replace(state, retry_count=state.retry_count + 1)

    changed = await asyncio.gather(*(task_state.change(store, clock, TASK, one_more_retry) for _ in range(20)))
    assert sorted(state.revision for state in changed if state) == list(range(1, 21))
    final = await task_state.read(store, TASK)
    assert final is not None
    assert (final.retry_count, final.revision) == (20, 20)


async def test_a_change_whose_answer_is_lost_is_recognised_and_not_made_twice() -> None:
    store = await _in_phase(Phase.RUNNING)

    async def lost(key: str, body: bytes) -> None:
        store.after_put = None
        raise PreconditionFailed(f"{key} ({len(body)} bytes), says the retry of the client")

    store.after_put = lost
    state = await task_state.change(
        store, ManualClock(), TASK, lambda state: state and replace(state, retry_count=state.retry_count + 1)
    )
    assert state is not None
    assert (state.retry_count, state.revision) == (1, 2)
    assert await task_state.read(store, TASK) == state


async def test_the_same_change_by_two_writers_is_two_changes() -> None:
    # Without a nonce the bytes of both would be equal, and the loser would take the winner's change for its own.
    store = await _in_phase(Phase.QUEUED)
    retries = [
        task_state.change(store, ManualClock(), TASK, lambda state: state and replace(state, attempt=state.attempt + 1))
        for _ in range(2)
    ]
    states = await asyncio.gather(*retries)
    assert sorted(state.attempt for state in states if state) == [1, 2]


async def test_the_bucket_s_silence_is_passed_on() -> None:
    store = await _in_phase(Phase.RUNNING)
    store.available = False
    with pytest.raises(Unavailable):
        await task_state.change(store, ManualClock(), TASK, _to(Phase.FAILED))


async def test_endless_contention_is_transient_and_loses_nobody_s_change() -> None:
    store = await _in_phase(Phase.RUNNING)
    faster = count(1)

    async def somebody_is_faster(key: str, body: bytes) -> None:
        assert body
        held = msgspec.json.decode(store.objects[key], type=TaskState)
        store.objects[key] = msgspec.json.encode(replace(held, attempt=next(faster)))

    store.before_put = somebody_is_faster
    with pytest.raises(Transient):
        await task_state.change(store, ManualClock(), TASK, _to(Phase.FAILED))
    state = await task_state.read(store, TASK)
    assert state is not None
    assert (state.phase, state.attempt) == (Phase.RUNNING, next(faster) - 1)


async def test_a_status_is_named_after_its_revision_alone() -> None:
    store, clock = MemoryStore(), ManualClock()
    first = await task_state.change(store, clock, TASK, _to(Phase.QUEUED))
    second = await task_state.change(store, clock, TASK, _to(Phase.RUNNING))
    assert first is not None
    assert second is not None
    by_a_command = task_state.said(second, command("stop"), "a-stage")
    by_another = task_state.said(second, command("delete"), "another-stage")
    assert ids(by_a_command) == ids(by_another)
    assert ids(by_a_command) != ids(task_state.said(first, command("stop"), "a-stage"))
    assert by_a_command[0].time == second.changed_at
    assert by_a_command[0].key == TASK


@pytest.mark.parametrize("phase", Phase)
async def test_a_status_says_what_the_state_says(phase: Phase) -> None:
    store = await _in_phase(phase)
    state = await task_state.read(store, TASK)
    assert state is not None
    (said,) = statuses(task_state.said(state, command("stop"), "a-stage"))
    assert (said.phase, said.terminal, said.resumable) == (phase, phase.terminal, False)
    assert (said.revision, said.attempt, said.retry_limit) == (1, 0, 3)
    assert received(task_state.said(state, command("stop"), "s")[0]).correlation_id == TASK


async def test_a_place_in_the_queue_is_said_while_it_is_queued_and_no_longer() -> None:
    store, clock = MemoryStore(), ManualClock()
    queued = TaskState(task_id=TASK, phase=Phase.QUEUED, queue_position=7)
    for state, position in ((queued, 7), (replace(queued, phase=Phase.DEPLOYING), None)):
        now = await task_state.change(store, clock, TASK, lambda _, wanted=state: wanted)  # type: ignore[misc]
        assert now is not None
        assert now.queue_position == position
        (said,) = statuses(task_state.said(now, command("stop"), "a-stage"))
        assert said.queue_position == position


async def test_a_task_called_dot_dot_stays_inside_its_own_prefix() -> None:
    store = MemoryStore()
    await task_state.change(store, ManualClock(), "..", lambda _: TaskState(task_id=".."))
    assert list(store.objects) == [layout.task("..", "state")]
    assert all(key.startswith("tasks/%2E") for key in store.objects)
