"""Many at once, also in several processes: of conditional puts exactly one wins, and nobody sees half an object."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from handlers.errors import PreconditionFailed
from handlers.ports.store import ObjectStore
from tests.conformance import counting
from worker.settings import Settings
from worker.storage import open_store

MIB = 1024 * 1024


async def winners(*attempts: Awaitable[str]) -> list[str]:
    """Return the ETags of the puts that succeeded; all others must have lost."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(result, str | PreconditionFailed) for result in results), results
    return [result for result in results if isinstance(result, str)]


async def test_of_racing_creators_exactly_one_wins(store: ObjectStore) -> None:
    won = await winners(*(store.put("deep/a", b"%d" % i, if_none_match=True) for i in range(64)))
    assert len(won) == 1
    stored = await store.get("deep/a")
    assert stored is not None
    assert [stored.etag] == won


async def test_of_racing_changers_exactly_one_wins(store: ObjectStore) -> None:
    before = await store.put("a", b"before")
    won = await winners(*(store.put("a", b"%d" % i, if_match=before) for i in range(64)))
    assert len(won) == 1
    stored = await store.get("a")
    assert stored is not None
    assert [stored.etag] == won


async def test_processes_lose_no_update_to_each_other(settings: Settings) -> None:
    processes, times = 3, 25
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        await asyncio.gather(
            *(
                asyncio.get_running_loop().run_in_executor(pool, counting.count_up, settings, times)
                for _ in range(processes)
            )
        )
    async with open_store(settings) as store:
        stored = await store.get(counting.KEY)
        assert stored is not None
        assert int(stored.body) == processes * times


async def test_a_reader_sees_the_old_object_or_the_new_one(store: ObjectStore) -> None:
    bodies = [letter * MIB for letter in (b"a", b"b")]
    etags = [await store.put("a", body) for body in bodies]

    async def write() -> None:
        for turn in range(10):
            await store.put("a", bodies[turn % 2])

    writing = asyncio.create_task(write())
    while not writing.done():
        stored = await store.get("a")
        assert stored is not None
        assert stored.body in bodies
        assert stored.etag == etags[bodies.index(stored.body)]
    await writing
