"""Events that wait in a trainer: in order, bounded, and what matters stays."""

import itertools
from datetime import UTC, datetime

from contracts.envelope import Event
from contracts.training import TrainingProgress
from worker.trainer.event_buffer import EventBuffer


class Time:
    """A monotonic clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def said(seq: int) -> Event[TrainingProgress]:
    body = TrainingProgress(task_id="t-1", attempt=1, seq=seq, state="running")
    topic = "training.progress"
    return Event(topic=topic, key="t-1", id=str(seq), type=topic, source="s", time=datetime.now(UTC), data=body)


def seqs(events: list[Event[TrainingProgress]]) -> list[int]:
    return [event.data.seq for event in events]


def filled(count: int, essential: frozenset[int] = frozenset(), limit: int = 1000) -> EventBuffer:
    buffer = EventBuffer(limit)
    for seq in range(count):
        buffer.put(said(seq), essential=seq in essential)
    return buffer


def test_events_leave_in_order_once_they_are_done() -> None:
    buffer = filled(5)
    first = buffer.oldest(2)
    assert seqs(first) == [0, 1]
    assert seqs(buffer.oldest()) == [0, 1, 2, 3, 4], "taking is not removing"
    buffer.done(first)
    buffer.done(first)
    assert seqs(buffer.oldest(99)) == [2, 3, 4]


def test_two_that_send_the_same_do_not_remove_what_neither_has_sent() -> None:
    buffer = filled(3)
    slow = buffer.oldest()
    buffer.done(buffer.oldest(2))
    buffer.put(said(3), essential=False)
    buffer.done(slow)
    assert seqs(buffer.oldest()) == [3]


def test_what_is_essential_stays_however_full_it_is_and_the_rest_is_thinned_evenly() -> None:
    essential = frozenset(range(0, 10_000, 500))
    buffer = filled(10_000, essential, limit=200)
    left = seqs(buffer.oldest())
    assert essential <= set(left)
    assert len(left) <= 200
    assert left == sorted(left)
    assert left[-1] == 9_999, "the newest always stays"
    assert max(after - before for before, after in itertools.pairwise(left)) <= 250, "the whole way can still be told"


def test_more_essential_events_than_fit_are_all_kept() -> None:
    assert len(filled(50, frozenset(range(50)), limit=10).oldest()) == 50


def test_an_event_is_overdue_once_it_has_waited_long_enough() -> None:
    time = Time()
    buffer = EventBuffer(monotonic=time)
    assert not buffer.overdue(0)
    buffer.put(said(0), essential=True)
    time.now += 4
    buffer.put(said(1), essential=False)
    assert not buffer.overdue(5)
    assert buffer.overdue(5, essential_at_once=True)
    buffer.done(buffer.oldest(1))
    assert not buffer.overdue(5, essential_at_once=True)
    time.now += 5
    assert buffer.overdue(5)


def test_at_the_end_everything_is_overdue() -> None:
    buffer = filled(1)
    buffer.hurry()
    assert buffer.overdue(1000)
    buffer.clear()
    assert not buffer.overdue(1000)
    assert buffer.wait_until_empty(0)
