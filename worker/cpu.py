"""Processes for CPU work: scanning and tokenising never share the event loop with heartbeats."""

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


class CpuPool(Executor):
    """A process pool that is made anew after one of its processes was killed (out of memory, say).

    Calls that were in it when it broke fail with BrokenProcessPool; later ones find a new pool. Processes are spawned,
    never forked: the parent has threads and open connections.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool = self._new()

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Run a picklable function in one of the processes."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = self._new()
            return self._pool.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes."""
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _new(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, mp_context=context, initializer=_end_with_parent)


class LongWork:
    """What takes minutes or hours: at most ``most`` such calls are in ``pool`` at a time, first in, first out.

    In a pool of more processes other calls always find one that is free or soon will be, however much waits here.
    """

    def __init__(self, pool: Executor, most: int) -> None:
        self._pool = pool
        self._places = asyncio.Semaphore(most)

    async def run(self, fn: Callable[..., Result], /, *args: Any) -> Result:
        """Run a picklable function in one of the pool's processes, and return what it returns.

        A cancelled call that has begun goes on in its process, and keeps its place until it ends there.
        """
        loop = asyncio.get_running_loop()
        await self._places.acquire()
        try:
            call = self._pool.submit(fn, *args)
        except BaseException:
            self._places.release()
            raise

        def ended(_: Future[Result]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._places.release)

        call.add_done_callback(ended)
        return await asyncio.wrap_future(call)


def _end_with_parent() -> None:
    """End this process when its parent does, however that ends: a pool's process waits for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="end-with-parent").start()
