"""Events that trainers left in the bucket: published as they are, in order, and deleted only then."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from contracts import event_file
from contracts.codec import Poison, decode, encode
from contracts.envelope import Event, derived_id
from contracts.training import TrainingProgress
from handlers import layout
from handlers.errors import Unavailable
from tests.fakes.clock import ManualClock
from tests.fakes.delivery import FakePublisher
from tests.fakes.faults import Crash, Faults, FaultyStore
from tests.fakes.store import MemoryStore
from tests.fakes.world import command_event
from tests.wait import wait_until
from worker.sweeps.outbox import OutboxSweep

TOPIC = "training.progress"


def said(task_id: str, seq: int, attempt: int = 1) -> Event[Any]:
    body = TrainingProgress(task_id=task_id, attempt=attempt, seq=seq, state="running")
    return Event(
        topic=TOPIC,
        key=task_id,
        id=derived_id("trainer", task_id, attempt, seq),
        type=TOPIC,
        source=f"trainer/{task_id}",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        data=body,
    )


class Swept:
    """A bucket, and a worker that sweeps its outbox."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.publisher = FakePublisher()
        self.clock = ManualClock()
        self.sweep = self.another()

    def another(self) -> OutboxSweep:
        return OutboxSweep(self.store, self.publisher, self.clock, every_seconds=0.01, lease_seconds=1.0)

    async def leave(self, *events: Event[Any]) -> str:
        """Put events where their attempt's trainer does."""
        first, last = events[0].data, events[-1].data
        key = layout.outbox_batch(first.task_id, first.attempt, first.seq, last.seq)
        await self.store.put(key, event_file.written(events))
        return key

    def said(self, task_id: str) -> list[tuple[int, int, str]]:
        """Return (attempt, seq, id) of what was published of a task."""
        events = [decode(topic, key, body, headers) for topic, key, body, headers in self.publisher.messages]
        return [(each.data.attempt, each.data.seq, each.id) for each in events if each.key == task_id]

    def waiting(self) -> list[str]:
        return sorted(key for key in self.store.objects if key.startswith("outbox/"))


async def test_what_waits_is_published_as_it_is_and_deleted() -> None:
    swept = Swept()
    first, second = said("t-1", 0), said("t-1", 1)
    await swept.leave(first, second)
    await swept.sweep.sweep()
    assert swept.publisher.messages == [
        (TOPIC, *encode(event)) for event in event_file.read(event_file.written([first, second]))
    ]
    assert swept.waiting() == []


async def test_an_attempt_s_events_stay_in_their_order() -> None:
    swept = Swept()
    for seq in (1000, 3, 99, 10_000_000):
        await swept.leave(said("t-1", seq))
    await swept.leave(said("..", 0, attempt=12))
    await swept.sweep.sweep()
    assert [seq for _, seq, _ in swept.said("t-1")] == [3, 99, 1000, 10_000_000]
    assert [attempt for attempt, *_ in swept.said("..")] == [12]
    assert swept.waiting() == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_every_event_is_said_and_under_one_id(*, after: bool) -> None:
    for at in range(20):
        faults = Faults()
        swept = Swept(FaultyStore(faults))
        for seq in range(3):
            await swept.leave(said("t-1", seq))
        faults.crash_at, faults.after = len(faults.calls) + at, after
        with contextlib.suppress(Crash):
            await swept.sweep.sweep()
        faults.crash_at = None
        await swept.clock.advance(0.5)
        swept.sweep = swept.another()
        await swept.sweep.sweep()
        await swept.clock.advance(1)
        await swept.sweep.sweep()
        assert {(seq, id_) for _, seq, id_ in swept.said("t-1")} == {
            (seq, derived_id("trainer", "t-1", 1, seq)) for seq in range(3)
        }
        assert swept.waiting() == []


async def test_what_the_broker_has_not_acknowledged_waits() -> None:
    swept = Swept()
    key = await swept.leave(said("t-1", 0))
    swept.publisher.failures = [Unavailable("Kafka did not acknowledge")]
    with pytest.raises(ExceptionGroup) as caught:
        await swept.sweep.sweep()
    assert caught.value.subgroup(Unavailable)
    assert swept.waiting() == [key]
    await swept.sweep.sweep()
    assert len(swept.said("t-1")) == 1


async def test_one_attempt_s_bug_does_not_keep_the_others_events() -> None:
    swept = Swept()
    await swept.leave(said("t-1", 0))
    await swept.leave(said("t-2", 0))
    swept.publisher.failures = [RuntimeError("a bug")]
    await swept.sweep.sweep()
    assert len(swept.said("t-1") + swept.said("t-2")) == 1
    await swept.sweep.sweep()
    assert (len(swept.said("t-1")), len(swept.said("t-2"))) == (1, 1)


FOREIGN = {
    "another task's event": event_file.written([said("t-2", 0)]),
    "another attempt's event": event_file.written([said("t-1", 0, attempt=2)]),
    "another topic's event": event_file.written([command_event("stop")]),
    "no events": b"\x00" * 2_000_000,
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
async def test_what_is_not_the_attempt_s_own_becomes_poison_of_its_topic_and_stops_nothing(body: bytes) -> None:
    swept = Swept()
    await swept.store.put(layout.outbox_batch("t-1", 1, 0, 0), body)
    await swept.leave(said("t-1", 1))
    await swept.sweep.sweep()
    (topic, key, published, headers), _ = swept.publisher.messages
    assert (topic, key, list(headers)) == (TOPIC, b"t-1", [])
    assert published
    assert body.startswith(published)
    with pytest.raises(Poison):
        decode(topic, key, published, headers)
    swept.publisher.messages.pop(0)
    assert [seq for _, seq, _ in swept.said("t-1")] == [1]
    assert swept.waiting() == []


async def test_what_is_too_large_for_the_broker_becomes_poison_too() -> None:
    swept = Swept()
    await swept.leave(said("t-1", 0))
    swept.publisher.failures = [MessageSizeTooLargeError()]
    await swept.sweep.sweep()
    assert len(swept.publisher.messages) == 1
    assert swept.waiting() == []


@pytest.mark.parametrize("key", ["outbox/stray", "outbox/t-1/x/0.json", "outbox/t-1/1/deep/er.json"])
async def test_an_object_that_is_no_batch_of_any_attempt_is_not_looked_at_for_ever(key: str) -> None:
    swept = Swept()
    await swept.store.put(key, event_file.written([said("t-1", 0)]))
    await swept.sweep.sweep()
    assert swept.waiting() == []
    assert len(swept.publisher.messages) == 1


class CountingStore(MemoryStore):
    """Counts its listings."""

    listings = 0

    def list(self, prefix: str) -> Any:
        self.listings += prefix == layout.outbox()
        return super().list(prefix)


async def test_one_listing_finds_everything_of_every_task() -> None:
    store = CountingStore()
    swept = Swept(store)
    for task in range(50):
        await swept.leave(said(f"t-{task}", 0))
        await swept.leave(said(f"t-{task}", 1))
    await swept.sweep.sweep()
    assert store.listings == 1
    assert len(swept.publisher.messages) == 100
    assert swept.waiting() == []


async def test_of_several_workers_one_sweeps_and_another_takes_over() -> None:
    swept = Swept()
    both = [swept.sweep, swept.another()]
    for sweep in both * 2:  # so each knows that the other is there
        await sweep.sweep()
        await swept.clock.advance(0.25)
    await swept.leave(said("t-1", 0))
    await both[0].sweep()
    first_did = bool(swept.publisher.messages)
    await both[1].sweep()
    assert len(swept.publisher.messages) == 1
    # Whoever did is heard of no more.
    await swept.leave(said("t-1", 1))
    other = both[1 if first_did else 0]
    for _ in range(5):
        await swept.clock.advance(0.25)
        await other.sweep()
    assert [seq for _, seq, _ in swept.said("t-1")] == [0, 1]


async def _ran(sweeps: Sequence[OutboxSweep], until: Any) -> None:
    tasks = [asyncio.create_task(sweep.run()) for sweep in sweeps]
    try:
        await wait_until(until, what="the sweep")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)


async def test_it_goes_on_through_silence_of_the_broker_and_of_the_bucket() -> None:
    swept = Swept()
    await swept.leave(said("t-1", 0))
    swept.publisher.failures = [Unavailable("no broker")] * 3
    swept.store.available = False

    def published() -> bool:
        swept.store.available = True
        return bool(swept.publisher.messages)

    await _ran([swept.sweep, swept.another()], published)
    assert swept.publisher.failures == []
    assert not [key for key in swept.store.objects if key.startswith("leases/")], "let go at the end, for the next one"
