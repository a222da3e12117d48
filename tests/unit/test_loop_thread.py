"""A thread's loop ends, whatever runs in it."""

import asyncio
import contextlib

from handlers import layout
from handlers.ports.jobs import JobSpec
from worker.settings import Settings
from worker.trainer.event_buffer import EventBuffer
from worker.trainer.loop_thread import LoopThread
from worker.trainer.outbox_sender import OutboxSender


def test_it_ends_though_a_task_loses_its_first_cancellation() -> None:
    """So does what asyncio.wait_for did before Python 3.12, in clients that we did not write."""
    cancelled = 0

    async def stubborn() -> None:
        nonlocal cancelled
        while cancelled < 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            cancelled += 1

    with LoopThread("test") as thread:
        started = thread.start(stubborn())
        thread.run(asyncio.sleep(0))
    assert started.done()
    assert cancelled == 2


async def test_an_outbox_cancelled_in_the_tick_that_wakes_it_ends() -> None:
    spec = JobSpec(job_id="t-1", task_id="t-1", attempt=1, plan_key="p", attempt_prefix=layout.attempt("t-1", 1))
    sender = OutboxSender(Settings(), spec, patience_seconds=3600)
    run = asyncio.create_task(sender.run(EventBuffer()))
    await asyncio.sleep(0)
    sender.wake.set()
    await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait({run}, timeout=5)
    assert run.cancelled()
