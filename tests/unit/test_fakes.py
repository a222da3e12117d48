"""The fakes keep what they promise: handler tests rest on them."""

import asyncio
from pathlib import Path

import pytest

from handlers.errors import OutsideBucket, PreconditionFailed, Unavailable
from handlers.ports.clock import Clock
from handlers.ports.executors import Executor
from handlers.ports.store import ObjectStore
from tests.fakes.clock import ManualClock
from tests.fakes.executor import FakeExecutor
from tests.fakes.store import MemoryStore
from tests.wait import wait_until

#: Checked by mypy: each fake is its port.
_PORTS: tuple[ObjectStore, Clock, Executor] = (MemoryStore(), ManualClock(), FakeExecutor())


async def test_of_racing_conditional_puts_exactly_one_wins() -> None:
    store = MemoryStore()
    results = await asyncio.gather(
        *(store.put("a", bytes([i]), if_none_match=True) for i in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, PreconditionFailed) for result in results) == 9


async def test_if_match_wants_the_object_as_it_is() -> None:
    store = MemoryStore()
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"1", if_match="whatever")
    first = await store.put("a", b"1")
    second = await store.put("a", b"2", if_match=first)
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"3", if_match=first)
    with pytest.raises(PreconditionFailed):
        await store.get("a", if_match=first)
    assert await store.get("a", if_match=second) == (b"2", second)
    assert await store.head("a") == ("a", second, 1)


async def test_a_range_is_cut_at_the_size() -> None:
    store = MemoryStore()
    etag = await store.put("a", b"012345")
    assert await store.get("a", byte_range=(2, 4)) == (b"23", etag)
    assert await store.get("a", byte_range=(4, 99)) == (b"45", etag)


async def test_listing_copying_deleting_and_files(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.put("x/b", b"b")
    await store.copy("x/b", "x/a")
    await store.put("y", b"")
    assert [info.key async for info in store.list("x/")] == ["x/a", "x/b"]
    await store.delete("x/a")
    await store.delete("x/a")
    await store.download("x/b", tmp_path / "file")
    assert await store.upload("z", tmp_path / "file") == await store.put("w", b"b")
    with pytest.raises(FileNotFoundError):
        await store.download("none", tmp_path / "none")


@pytest.mark.parametrize("uri", ["s3://bucket/a", "memory://bucket/../a", "memory://bucket/", "memory://bucketa"])
def test_a_uri_outside_the_bucket_is_refused(uri: str) -> None:
    with pytest.raises(OutsideBucket):
        MemoryStore().key(uri)


async def test_hooks_fail_a_put_before_or_after_it_took_place() -> None:
    store = MemoryStore()

    async def fail(key: str, body: bytes) -> None:
        raise Unavailable(f"{key}: {len(body)} bytes")

    store.before_put = fail
    with pytest.raises(Unavailable):
        await store.put("a", b"1")
    assert store.objects == {}
    store.before_put, store.after_put = None, fail
    with pytest.raises(Unavailable):
        await store.put("a", b"1")
    assert store.objects == {"a": b"1"}
    store.available = False
    with pytest.raises(Unavailable):
        await store.get("a")


async def test_sleepers_wake_in_order_and_at_their_own_time() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 5.0), ("early", 2.0), ("later", 7.0)):
            group.create_task(sleeper(name, seconds))
        await clock.advance(6)
        assert woken == [("early", 2.0), ("late", 5.0)]
        assert clock.now().second == 6
        await clock.advance(1)
    assert woken[-1] == ("later", 7.0)


async def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match="a miracle"):
        await wait_until(lambda: False, timeout=0.05, what="a miracle")
