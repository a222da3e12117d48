"""One holder at a time, judged by nobody's clock but one's own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from handlers.errors import Unavailable
from handlers.ports import Stored
from tests.fakes.clock import ManualClock
from tests.fakes.store import MemoryStore
from worker.lease import Lease

SECONDS = 15.0


def _lease(store: MemoryStore, clock: ManualClock) -> Lease:
    return Lease(store, clock, "sweeper", SECONDS)


async def test_of_many_that_want_it_one_holds_it_and_keeps_it() -> None:
    store, clock = MemoryStore(), ManualClock()
    leases = [_lease(store, clock) for _ in range(10)]
    held = await asyncio.gather(*(lease.beat() for lease in leases))
    assert sum(held) == 1
    await clock.advance(SECONDS - 1)
    assert await asyncio.gather(*(lease.beat() for lease in leases)) == held


async def test_a_holder_that_falls_silent_is_replaced_by_one_and_learns_of_it() -> None:
    store, clock = MemoryStore(), ManualClock()
    old, *others = (_lease(store, clock) for _ in range(6))
    assert await old.beat()
    assert not any([await other.beat() for other in others])
    await clock.advance(SECONDS)
    assert sum(await asyncio.gather(*(other.beat() for other in others))) == 1
    assert not await old.beat()


async def test_a_holder_that_beats_is_never_replaced_however_long_it_goes_on() -> None:
    store, clock = MemoryStore(), ManualClock()
    holder, other = _lease(store, clock), _lease(store, clock)
    for _ in range(20):
        assert await holder.beat()
        assert not await other.beat()
        await clock.advance(SECONDS - 1)


async def test_a_stranger_s_clock_does_not_matter() -> None:
    store = MemoryStore()
    holder, ahead = _lease(store, ManualClock()), ManualClock()
    await ahead.advance(1_000_000)
    assert await holder.beat()
    assert not await _lease(store, ahead).beat()


async def test_released_it_goes_to_the_next_at_once() -> None:
    store, clock = MemoryStore(), ManualClock()
    first, second = _lease(store, clock), _lease(store, clock)
    assert await first.beat()
    assert not await second.beat()
    await second.release()
    assert not await second.beat(), "only its holder can let it go"
    await first.release()
    assert await second.beat()
    await first.release()
    assert not await first.beat()


class SlowReadStore(MemoryStore):
    """A bucket whose answer to the next read takes as long as a test wants."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        answer = await super().get(key, byte_range=byte_range, if_match=if_match)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return answer


async def test_a_slow_release_does_not_take_it_from_the_next_holder() -> None:
    store, clock = SlowReadStore(), ManualClock()
    slow, next_one, third = (_lease(store, clock) for _ in range(3))
    assert await slow.beat()
    assert not await next_one.beat()
    await clock.advance(SECONDS)
    store.meanwhile = next_one.beat
    await slow.release()
    assert not await third.beat()
    assert await next_one.beat()


async def test_a_beat_whose_answer_is_lost_still_counts() -> None:
    store, clock = MemoryStore(), ManualClock()
    lease, other = _lease(store, clock), _lease(store, clock)

    async def lost(key: str, body: bytes) -> None:
        store.after_put = None
        raise Unavailable(f"the answer to {key} ({len(body)} bytes) was lost")

    store.after_put = lost
    with pytest.raises(Unavailable):
        await lease.beat()
    assert not await other.beat()
    assert await lease.beat()
