"""May this process still train? What the state, a broken bucket and SIGTERM make of it."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from handlers import layout
from handlers.errors import Unavailable
from handlers.ports import JobSpec
from tests.fakes.store import MemoryStore
from tests.wait import wait_until
from worker.trainer import environment
from worker.trainer.fence import Fence, Standing, Superseded

pytestmark = pytest.mark.trainer

SPEC = JobSpec(job_id="t", task_id="t", attempt=2, plan_key="p", attempt_prefix="a/")
HEARTBEAT = 0.001


class World:
    def __init__(self) -> None:
        self.store, self.stop = MemoryStore(), threading.Event()
        self.fence = Fence(self.store, SPEC, HEARTBEAT, self.stop)
        self.say(2, "run")

    def say(self, attempt: int, desired: str) -> None:
        self.store.objects[layout.task("t", "state")] = msgspec.json.encode({"attempt": attempt, "desired": desired})

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Fence]:
        watching = asyncio.create_task(self.fence.keep_looking())
        try:
            yield self.fence
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("desired", ["stop", "pause", "delete"])
async def test_what_the_user_wants_is_seen_at_a_heartbeat(world: World, desired: str) -> None:
    async with world.watched() as fence:
        assert fence.standing is Standing.RUN
        world.say(2, desired)
        await wait_until(lambda: fence.standing is Standing.STOP)
        fence.check()


async def test_another_attempt_ends_everything_also_after_a_stop(world: World) -> None:
    async with world.watched() as fence:
        world.say(2, "stop")
        await wait_until(lambda: fence.standing is Standing.STOP)
        world.say(3, "run")
        await wait_until(lambda: fence.standing is Standing.SUPERSEDED)
    with pytest.raises(Superseded, match="attempt 2 of t"):
        fence.check()


async def test_sigterm_is_a_stop_at_once(world: World) -> None:
    world.stop.set()

    assert world.fence.standing is Standing.STOP


async def test_a_bucket_that_does_not_answer_for_long_ends_training_and_not_at_once(world: World) -> None:
    async with world.watched() as fence:
        world.store.available = False
        assert fence.standing is Standing.RUN
        await wait_until(lambda: fence.standing is Standing.BLIND)
    with pytest.raises(Unavailable):
        await fence.look()


async def test_a_state_that_is_gone_or_unreadable(world: World) -> None:
    world.store.objects[layout.task("t", "state")] = b"{"
    async with world.watched() as fence:
        assert fence.standing is Standing.RUN
    del world.store.objects[layout.task("t", "state")]
    assert await fence.look() is Standing.SUPERSEDED


@pytest.mark.parametrize(("given", "used"), [("2,3", "2"), ("GPU-8932f937", "GPU-8932f937"), ("", "")])
def test_one_process_trains_on_one_gpu(given: str, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.prepare()

    assert os.environ["CUDA_VISIBLE_DEVICES"] == used
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
