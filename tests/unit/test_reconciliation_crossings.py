"""Sweeps that cross each other, a success or a stop, and sweeps that are killed: no attempt too many, none unsaid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts.task import Phase
from handlers.ports.jobs import JobStatus
from tests.fakes.faults import Crash, faulty_world
from tests.fakes.swept import PATIENCE, Swept, running
from tests.fakes.world import command_event, form_event, ids
from tests.wait import wait_until
from worker.sweeps.reconciler import Reconciler


async def test_two_that_sweep_at_once_begin_one_attempt_and_say_it_under_one_id() -> None:
    swept = await running()
    other = swept.another()
    await other.sweep()
    swept.world.executor.lose("t-1", 1)
    await swept.world.clock.advance(PATIENCE)
    await asyncio.gather(swept.reconciler.sweep(), other.sweep())
    assert (await swept.state()).attempt == 2
    assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
    assert len(set(ids(swept.publisher.events))) == 2


async def test_two_that_sweep_at_once_and_a_dispatch_begin_one_attempt_whatever_comes_between() -> None:
    submits = set()
    for turns in range(60):
        swept = Swept()
        await swept.world.run(await swept.world.import_dataset("d-1", b"{}\n"))
        dispatching = asyncio.create_task(swept.world.deliver("training-dispatch", form_event("t-1", "d-1")))
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.gather(swept.reconciler.sweep(), swept.another().sweep())
        await dispatching
        await swept.sweep(after=1)
        state = await swept.state()
        assert (state.phase, state.attempt) == (Phase.QUEUED, 1)
        assert swept.world.executor.started == [("t-1", 1)]
        submits.add(len(swept.world.executor.submits))
    # Somewhere in between they do submit the same job more than once, which is what engines must bear.
    assert max(submits) > 1


async def test_a_success_that_arrives_while_the_job_is_given_up_wins_or_is_fenced_whole() -> None:
    ends = set()
    for turns in range(20):
        swept = await running()
        swept.world.executor.end("t-1", 1, 1)
        await swept.world.clock.advance(PATIENCE)
        sweeping = asyncio.create_task(swept.reconciler.sweep())
        for _ in range(turns):
            await asyncio.sleep(0)
        await swept.world.progress("succeeded", 2, outputs=[{"step": 9, "uri": "x", "kind": "full", "files": []}])
        await sweeping
        state = await swept.state()
        ends.add((state.phase, state.attempt, state.promoted))
    assert ends == {(Phase.COMPLETING, 1, 1), (Phase.QUEUED, 2, None)}


async def test_a_stop_that_crosses_a_retry_leaves_no_job_behind() -> None:
    for turns in range(30):
        swept = await running()
        swept.world.executor.end("t-1", 1, 1)
        await swept.world.clock.advance(PATIENCE)
        sweeping = asyncio.create_task(swept.reconciler.sweep())
        for _ in range(turns):
            await asyncio.sleep(0)
        await swept.world.run(command_event("stop"), skip=["model-export"])
        await sweeping
        for _ in range(3):
            await swept.sweep(after=PATIENCE)
        state = await swept.state()
        assert (state.phase, state.desired) == (Phase.TERMINATED, "stop")
        for attempt in (1, 2):
            assert (await swept.world.executor.status("t-1", attempt)).state != "running"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_of_a_retry_the_next_reconciler_finishes_it_and_every_attempt_is_said(
    *, after: bool
) -> None:
    async def begin() -> tuple[Swept, Any]:
        world, faults = faulty_world()
        swept = await running(world, checkpoint={"step": 5, "uri": world.store.uri("tasks/t-1/attempts/1/c")})
        world.executor.end("t-1", 1, 1)
        await world.clock.advance(PATIENCE)
        return swept, faults

    swept, faults = await begin()
    already = len(faults.calls)
    baseline = set(ids(await swept.sweep()))
    for at in range(len(faults.calls) - already):
        swept, faults = await begin()
        faults.crash_at, faults.after = len(faults.calls) + at, after
        # The sweep logs what one task raises; here it stands for the whole process.
        try:
            await swept.reconciler.sweep()
        except Crash:
            assert "list" in faults.calls[-1]
        faults.crash_at = None
        swept.reconciler = swept.another()
        await swept.sweep()
        await swept.sweep(after=PATIENCE)
        assert [spec.attempt for spec in swept.world.submitted] == [1, 2]
        assert (await swept.state()).attempt == 2
        assert swept.world.submitted[-1].resume_from == "tasks/t-1/attempts/1/c"
        assert set(ids(swept.publisher.events)) == baseline, faults.calls[already + at]
        assert {said.attempt for said in swept.dispatched()} == {2}


# --- the loop ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _sweeping(*reconcilers: Reconciler) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(reconciler.run()) for reconciler in reconcilers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_many_each_task_has_one_that_looks_after_it_and_survives_the_bucket_s_silence() -> None:
    swept = Swept()
    await swept.world.dispatched()
    swept.world.executor.lose("t-1", 1)
    swept.world.executor.submits.clear()
    swept.world.store.available = False
    async with _sweeping(swept.reconciler, swept.another(), swept.another()):
        await asyncio.sleep(0)
        swept.world.store.available = True
        await wait_until(lambda: swept.world.executor.submits, what="a sweep")
    assert [spec.attempt for spec in swept.world.submitted] == [1]
    assert swept.world.keys("leases/") == [], "at the end the others have its shards at once"


async def test_many_share_the_tasks_and_whoever_goes_leaves_its_share_to_the_others() -> None:
    swept = Swept()
    one, other = swept.reconciler, swept.another()
    for number in range(40):
        await swept.world.dispatched(f"t-{number}", f"d-{number}")
        swept.world.executor.lose(f"t-{number}", 1)
    swept.world.executor.submits.clear()
    submitted = swept.world.executor.submits
    # Each learns of the other by its own next beat; lease_seconds is 1.
    for member in (one, other, one):
        await member._members.share()
        await swept.world.clock.advance(0.5)
    await one.sweep(await one._members.share())
    first = {spec.task_id for spec in submitted}
    submitted.clear()
    await other.sweep(await other._members.share())
    second = {spec.task_id for spec in submitted}
    assert first.isdisjoint(second)
    assert len(first | second) == 40
    assert 10 < len(first) < 30
    await other._members.leave()
    await swept.world.clock.advance(0.5)
    for task_id in second:
        swept.world.executor.lose(task_id, 1)
    submitted.clear()
    await one.sweep(await one._members.share())
    assert {spec.task_id for spec in submitted} >= second


async def test_who_sweeps_for_long_is_not_taken_for_gone_and_stops_where_its_share_is_not_its_own_any_more() -> None:
    swept = Swept()
    one, other = swept.reconciler, swept.another()
    for number in range(60):
        await swept.world.dispatched(f"t-{number}", f"d-{number}")
        swept.world.executor.lose(f"t-{number}", 1)
    looked: list[str] = []
    answer = swept.world.executor.status

    async def slow(job_id: str, attempt: int) -> JobStatus:
        looked.append(job_id)
        if len(looked) % 8 == 0:
            await swept.world.clock.advance(0.3)
        if len(looked) == 20:
            await other._members.share()
        return await answer(job_id, attempt)

    swept.world.executor.status = slow  # type: ignore[method-assign]  # as slow as a test wants
    all_shards = await one._members.share()
    await one.sweep(all_shards)
    assert 16 < len(looked) < 60, "the sweep ended when another was there"
    assert await one._members.share() != all_shards
    assert await other._members.share() | await one._members.share() == all_shards
