"""May this process still train? What the state, a broken bucket and SIGTERM make of it."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.task import Phase
from handlers import layout
from handlers.errors import PreconditionFailed, Unavailable
from handlers.ports.jobs import JobSpec
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

    def say(self, attempt: int, desired: str, phase: str = "Running") -> None:
        state = {"attempt": attempt, "desired": desired, "phase": phase}
        self.store.objects[layout.task("t", "state")] = msgspec.json.encode(state)

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


@pytest.mark.parametrize("desired", ["stop", "pause", "resume", "delete"])
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


async def test_an_answer_nobody_expects_does_not_end_the_looking(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    get, unexpected = world.store.get, [RuntimeError("an answer without sense"), msgspec.ValidationError("no state")]

    async def odd(*args: Any, **options: Any) -> Any:
        if unexpected:
            raise unexpected.pop()
        return await get(*args, **options)

    monkeypatch.setattr(world.store, "get", odd)
    async with world.watched() as fence:
        await wait_until(lambda: not unexpected)
        world.say(3, "run")
        await wait_until(lambda: fence.standing is Standing.SUPERSEDED)


@pytest.mark.parametrize("phase", Phase)
async def test_a_task_that_is_over_wants_nothing_of_its_trainer_any_more(world: World, phase: Phase) -> None:
    world.say(2, "run", phase.value)
    over = phase.terminal or phase is Phase.COMPLETING
    assert await world.fence.look() is (Standing.SUPERSEDED if over else Standing.RUN)


async def test_of_two_processes_of_one_attempt_the_first_has_it_for_good(world: World) -> None:
    copy = Fence(world.store, SPEC, HEARTBEAT, threading.Event())
    await asyncio.gather(world.fence.claim(), copy.claim())
    standings = [world.fence.standing, copy.standing]
    assert sorted(standing.value for standing in standings) == ["run", "superseded"]
    first = world.fence if world.fence.standing is Standing.RUN else copy
    await first.claim()
    assert first.standing is Standing.RUN, "it may be asked again"
    with pytest.raises(Superseded):
        (copy if first is world.fence else world.fence).check()
    await Fence(world.store, replace(SPEC, attempt=3), HEARTBEAT, threading.Event()).claim()
    assert world.store.objects.keys() >= {layout.runner("t", 2), layout.runner("t", 3)}


async def test_a_claim_whose_answer_was_lost_is_a_claim(world: World) -> None:
    async def lost(key: str, body: bytes) -> None:
        world.store.after_put = None
        raise PreconditionFailed(f"{key} ({len(body)} bytes), says the retry of the client")

    world.store.after_put = lost
    await world.fence.claim()
    assert world.fence.standing is Standing.RUN


async def test_the_other_processes_of_a_job_follow_their_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.fence.claim()
    monkeypatch.setenv("RANK", "1")
    second = Fence(world.store, SPEC, HEARTBEAT, threading.Event())
    await second.claim()
    assert second.standing is Standing.RUN


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
