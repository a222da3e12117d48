"""One JSON object that many change: no change is lost, and none is made twice where an answer is."""

import asyncio
from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from handlers import compare_and_set
from handlers.errors import PreconditionFailed, Transient, Unavailable
from tests.fakes.store import MemoryStore

KEY = "counters/one.json"


class Counter(Struct, frozen=True):
    count: int = 0
    writer: str = ""


def _one_more(writer: str) -> Callable[[Counter | None], Counter]:
    def decide(before: Counter | None) -> Counter:
        return Counter((before.count if before else 0) + 1, writer)

    return decide


async def test_concurrent_changes_lose_nothing() -> None:
    store = MemoryStore()
    writers = [f"writer-{n}" for n in range(20)]
    results = await asyncio.gather(
        *(compare_and_set.update(store, KEY, Counter, _one_more(writer)) for writer in writers)
    )
    assert sorted(result.count for result in results if result) == list(range(1, 21))
    assert {result.writer for result in results if result} == set(writers)
    held = await compare_and_set.read(store, KEY, Counter)
    assert held is not None
    assert held.count == 20


async def test_leaving_it_as_it_is_puts_nothing_and_returns_what_is_there() -> None:
    store = MemoryStore()
    assert await compare_and_set.update(store, KEY, Counter, lambda _: None) is None
    await compare_and_set.update(store, KEY, Counter, _one_more("me"))
    puts = list(store.puts)
    assert await compare_and_set.update(store, KEY, Counter, lambda _: None) == Counter(1, "me")
    assert store.puts == puts


@pytest.mark.parametrize("exists", [False, True])
async def test_a_put_that_is_reported_as_lost_but_took_place_is_recognised(*, exists: bool) -> None:
    store = MemoryStore()
    if exists:
        await compare_and_set.update(store, KEY, Counter, _one_more("somebody"))
    calls = 0

    async def lost(key: str, body: bytes) -> None:
        # A client that got no answer tries again by itself, and is then told that its condition does not hold.
        store.after_put = None
        raise PreconditionFailed(f"{key}: {len(body)} bytes")

    def decide(before: Counter | None) -> Counter:
        nonlocal calls
        calls += 1
        return _one_more("me")(before)

    store.after_put = lost
    after = await compare_and_set.update(store, KEY, Counter, decide)
    assert after == Counter(1 + exists, "me")
    assert calls == 1
    assert await compare_and_set.read(store, KEY, Counter) == after


async def test_a_failed_put_changes_nothing_and_says_so() -> None:
    store = MemoryStore()
    store.available = False
    with pytest.raises(Unavailable):
        await compare_and_set.update(store, KEY, Counter, _one_more("me"))
    store.available = True
    assert await compare_and_set.read(store, KEY, Counter) is None


async def test_it_gives_up_in_the_end() -> None:
    store = MemoryStore()
    numbers = count()

    async def somebody_is_faster(key: str, body: bytes) -> None:
        assert body
        store.objects[key] = msgspec.json.encode(Counter(next(numbers), "faster"))

    store.before_put = somebody_is_faster
    with pytest.raises(Transient, match="changed by others") as caught:
        await compare_and_set.update(store, KEY, Counter, _one_more("me"))
    assert not isinstance(caught.value, Unavailable), "it would be waited for without end"


async def test_an_object_that_vanishes_between_is_put_anew() -> None:
    store = MemoryStore()
    await compare_and_set.update(store, KEY, Counter, _one_more("first"))

    async def vanish(key: str, body: bytes) -> None:
        assert body
        store.before_put = None
        del store.objects[key]

    store.before_put = vanish
    assert await compare_and_set.update(store, KEY, Counter, _one_more("me")) == Counter(1, "me")


async def test_the_first_value_stays() -> None:
    store = MemoryStore()
    values = [Counter(n) for n in range(10)]
    results = await asyncio.gather(*(compare_and_set.first(store, KEY, value) for value in values))
    assert len(set(results)) == 1
    assert await compare_and_set.first(store, KEY, Counter(99)) == results[0]
    assert await compare_and_set.first(store, KEY, replace(results[0])) == results[0]
