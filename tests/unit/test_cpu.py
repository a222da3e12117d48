"""Processes for CPU work: one that is killed costs its calls, and no later one."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest

from worker.cpu import CpuPool


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
