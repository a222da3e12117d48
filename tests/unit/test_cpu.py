"""Processes for CPU work: one that is killed costs its calls, and no later one."""

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest

from tests.wait import wait_until
from worker.cpu import CpuPool, LongWork


@pytest.fixture
def pool() -> Iterator[CpuPool]:
    made = CpuPool(1)
    yield made
    made.shutdown(cancel_futures=True)


async def test_a_pool_whose_process_was_killed_is_made_anew(pool: CpuPool) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(BrokenProcessPool):
        await loop.run_in_executor(pool, os._exit, 9)
    assert await loop.run_in_executor(pool, pow, 2, 10) == 1024


async def test_an_error_of_the_work_is_the_caller_s_and_breaks_nothing(pool: CpuPool) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(pool, divmod, 1, 0)
    assert await loop.run_in_executor(pool, os.getpid) != os.getpid()


class Blocking:
    """Work that ends when it is let go."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.end = {number: threading.Event() for number in range(3)}

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        assert self.end[number].wait(10)
        return number


async def test_long_work_waits_for_its_places_and_leaves_the_rest_of_the_pool_free() -> None:
    work = Blocking()
    with ThreadPoolExecutor(2) as threads:
        long_work = LongWork(threads, 1)
        calls = [asyncio.create_task(long_work.run(work, number)) for number in range(3)]
        try:
            await wait_until(lambda: work.begun)
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().run_in_executor(threads, pow, 2, 10) == 1024
            assert work.begun == [0]
            work.end[0].set()
            await wait_until(lambda: work.begun == [0, 1])
        finally:
            for each in work.end.values():
                each.set()
        assert await asyncio.gather(*calls) == [0, 1, 2]


async def test_long_work_that_is_cancelled_keeps_its_place_until_it_ends_and_what_waits_never_begins() -> None:
    work = Blocking()
    with ThreadPoolExecutor(3) as threads:
        long_work = LongWork(threads, 1)
        calls = [asyncio.create_task(long_work.run(work, number)) for number in range(3)]
        try:
            await wait_until(lambda: work.begun)
            calls[0].cancel()
            calls[1].cancel()
            await asyncio.gather(*calls[:2], return_exceptions=True)
            assert await asyncio.get_running_loop().run_in_executor(threads, pow, 2, 10) == 1024
            assert work.begun == [0]
        finally:
            for each in work.end.values():
                each.set()
        assert await calls[2] == 2
        assert work.begun == [0, 2]


async def test_an_error_of_long_work_frees_its_place() -> None:
    with ThreadPoolExecutor(1) as threads:
        long_work = LongWork(threads, 1)
        with pytest.raises(ZeroDivisionError):
            await long_work.run(divmod, 1, 0)
        assert await long_work.run(pow, 2, 10) == 1024
    with pytest.raises(RuntimeError):
        await long_work.run(pow, 2, 10)
    with pytest.raises(RuntimeError):
        await long_work.run(pow, 2, 10)
