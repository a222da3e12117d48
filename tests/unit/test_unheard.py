"""An attempt whose words have not arrived is not silent: nothing is trained again for it."""

from typing import Any

import pytest

from contracts import event_file
from contracts.codec import decode
from contracts.envelope import Event, derived_id
from contracts.task import Phase
from contracts.training import TrainingProgress
from handlers import layout, unheard
from handlers.errors import Unavailable
from handlers.reconciliation import FOR_SILENCE, Action, Decision, unless_unheard
from handlers.unheard import Unheard
from tests.fakes.events import event
from tests.fakes.swept import PATIENCE, Swept, running, task_in
from tests.fakes.world import command_event


def said(seq: int, state: str = "running", attempt: int = 1, **fields: Any) -> Event[TrainingProgress]:
    body = {"task_id": "t-1", "attempt": attempt, "seq": seq, "state": state} | fields
    return event("training.progress", body, id=derived_id("trainer", "t-1", attempt, seq))


async def leave(swept: Swept, *events: Event[TrainingProgress], key: str | None = None) -> None:
    """Put events where a trainer does: into the outbox, or where its last word is."""
    first, last = events[0].data, events[-1].data
    key = key or layout.outbox_batch("t-1", first.attempt, first.seq, last.seq)
    await swept.world.store.put(key, event_file.written(events))


def repeated(swept: Swept) -> list[Event[Any]]:
    """Return what was sent as it was."""
    return [decode(topic, key, body, headers) for topic, key, body, headers in swept.publisher.messages]


WORD = Unheard(last_word=said(9, "succeeded"))


@pytest.mark.parametrize("action", Action)
def test_only_what_silence_brings_about_is_thought_over(action: Action) -> None:
    for_silence, decision = action in FOR_SILENCE, Decision(action)
    assert unless_unheard(decision, Unheard()) is decision
    assert unless_unheard(decision, Unheard(on_their_way=True)).action is (Action.LEAVE if for_silence else action)
    assert unless_unheard(decision, WORD).action is (Action.REPEAT if for_silence else action)


async def test_a_result_that_nobody_heard_is_said_again_and_nothing_is_trained_twice() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, 0)
    word = said(5, "succeeded", outputs=[await swept.world.leave_output()])
    await leave(swept, word, key=layout.last_word("t-1", 1))
    assert await swept.sweep(after=PATIENCE) == []
    (again,) = repeated(swept)
    assert (again.id, again.data) == (word.id, word.data)
    assert again.body == word.body
    await swept.world.run(again, skip=["model-export"])
    for _ in range(3):
        await swept.sweep(after=PATIENCE)
    state = await swept.state()
    assert (state.phase, state.attempt, len(swept.world.submitted)) == (Phase.COMPLETING, 1, 1)
    assert len(repeated(swept)) == 1


async def test_a_word_that_is_still_not_heard_is_said_once_a_patience() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, -9)
    await leave(swept, said(5, "succeeded"), key=layout.last_word("t-1", 1))
    for _ in range(8):
        await swept.sweep(after=PATIENCE / 4)
    assert len(repeated(swept)) == 2
    assert (await swept.state()).attempt == 1


async def test_a_word_the_broker_does_not_take_is_said_at_the_next_sweep_after_a_patience() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, 0)
    await leave(swept, said(5, "succeeded"), key=layout.last_word("t-1", 1))
    swept.publisher.failures = [Unavailable("Kafka is down")] * 2
    for _ in range(3):
        assert await swept.sweep(after=PATIENCE) == []
    assert len(repeated(swept)) == 1
    assert (await swept.state()).attempt == 1


async def test_events_on_their_way_are_waited_for_and_then_given_time_to_be_heard() -> None:
    swept = await running()
    swept.world.executor.end("t-1", 1, -9)
    await leave(swept, said(5))
    for _ in range(10):
        assert await swept.sweep(after=10 * PATIENCE) == []
    for key in swept.world.keys("outbox/"):
        del swept.world.store.objects[key]
    assert await swept.sweep(after=PATIENCE - 1) == [], "it left the bucket only just now"
    await swept.sweep(after=1)
    assert (await swept.state()).attempt == 2


@pytest.mark.parametrize(
    "word",
    [
        event_file.written([said(1, "failed")]),
        event_file.written([said(9, "succeeded", attempt=2)]),
        event_file.written([command_event("stop")]),
        event_file.written([said(8), said(9)]),
        event_file.written([]),
        b"no JSON",
    ],
    ids=["heard already", "another attempt's", "no progress", "two", "none", "broken"],
)
async def test_what_is_no_unheard_word_of_the_attempt_holds_no_retry_back(word: bytes) -> None:
    swept = await running()
    await swept.world.store.put(layout.last_word("t-1", 1), word)
    assert await unheard.look(swept.world.store, await swept.state()) == Unheard()
    swept.world.executor.end("t-1", 1, 1)
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 2


async def test_another_attempt_s_outbox_holds_nothing_back() -> None:
    swept = await running()
    await leave(swept, said(5, attempt=10))
    swept.world.executor.end("t-1", 1, 1)
    await swept.sweep(after=PATIENCE)
    assert (await swept.state()).attempt == 2


async def test_nothing_is_looked_for_while_all_is_well() -> None:
    swept = await running()
    before = task_in(Phase.RUNNING)
    assert before.attempt == 1
    await leave(swept, said(5, "succeeded"), key=layout.last_word("t-1", 1))
    await swept.sweep(after=100 * PATIENCE)
    assert repeated(swept) == []


async def test_a_success_that_nobody_heard_wins_over_a_pause_and_over_the_attempt_after_it() -> None:
    for resumed in (False, True):
        swept = await running()
        swept.world.executor.exit_on_cancel = -9
        await swept.world.run(command_event("pause"))
        if resumed:
            # The engine lost it, so that it counts as paused; then its word arrives in the bucket.
            await swept.sweep()
            await swept.sweep(after=PATIENCE)
            await swept.world.run(command_event("resume"))
        word = said(5, "succeeded", outputs=[await swept.world.leave_output()])
        await leave(swept, word, key=layout.last_word("t-1", 1))
        await swept.sweep()
        await swept.sweep(after=PATIENCE)
        await swept.world.run(*repeated(swept)[:1], skip=["model-export"])
        state = await swept.state()
        assert (state.phase, state.attempt, state.promoted) == (Phase.COMPLETING, 1, 1)


async def test_steps_that_are_on_their_way_are_no_stall() -> None:
    swept = await running(settings={"stalled_seconds": 60.0, "stalled_retry_seconds": 120.0})
    await leave(swept, said(5, progress={"step": 7, "total_steps": 9}))
    for _ in range(5):
        assert await swept.sweep(after=100) == []
    assert (await swept.state()).reason == "running"
