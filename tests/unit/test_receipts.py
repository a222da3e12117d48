"""Recorded outcomes: whoever asks, whenever, gets the one that was recorded first, to the byte."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from contracts.codec import encode
from contracts.quote import CostEstimated, Quote
from handlers.errors import PreconditionFailed, Transient, Unavailable
from handlers.outcome import Decision, FollowOn, Outcome
from tests.fakes.clock import ManualClock
from tests.fakes.events import event
from tests.fakes.store import MemoryStore
from worker.delivery.receipts import BucketReceipts

CAUSE = event("task.command", {"command_id": "c-1", "task_id": "t-1", "command": "stop"})


def _said(amount: str) -> CostEstimated:
    quote = Quote(
        quote_id="q", amount=amount, currency="CNY", complete=True, missing=(), items=(), billed_tokens=1,
        model="m@1", method="full", price_version="1",
    )  # fmt: skip
    return CostEstimated(task_id="t-1", dataset_ids=("d-1",), project="默认", quote=quote)


class Work:
    """Work whose result differs each time: an outcome that were computed twice would show."""

    def __init__(self) -> None:
        self.done = 0

    async def __call__(self) -> Decision:
        self.done += 1
        number = self.done
        await asyncio.sleep(0)
        follow_ons = (FollowOn("cost.estimated", "t-1", _said(str(number))),) * 2
        return Decision(name=f"done-{number}", follow_ons=follow_ons)


def _receipts(
    store: MemoryStore, versions: Mapping[str, int] | None = None, clock: ManualClock | None = None
) -> BucketReceipts:
    return BucketReceipts(store, clock or ManualClock(), versions or {"pure": 1, "acting": 0})


def _bytes(outcome: Outcome) -> list[Any]:
    return [encode(said) for said in outcome.events]


async def test_a_second_delivery_finds_the_first_one_s_outcome_to_the_byte() -> None:
    store, work, clock = MemoryStore(), Work(), ManualClock()
    first = await _receipts(store, clock=clock).once("acting", "t-1", CAUSE, work)
    await clock.advance(timedelta(days=3 * 365).total_seconds())
    again = await _receipts(store, clock=clock).once("acting", "t-1", CAUSE, work)
    assert work.done == 1
    assert again == first
    assert _bytes(again) == _bytes(first)
    assert first.name == "done-1"
    assert first.events[0].id != first.events[1].id
    assert {said.causation_id for said in first.events} == {CAUSE.id}
    assert {said.correlation_id for said in first.events} == {"t-1"}


async def test_of_twenty_that_race_all_say_the_same() -> None:
    store, work = MemoryStore(), Work()
    outcomes = await asyncio.gather(*(_receipts(store).once("acting", "t-1", CAUSE, work) for _ in range(20)))
    assert work.done > 1, "the race took place"
    assert len({outcome.name for outcome in outcomes}) == 1
    assert all(_bytes(outcome) == _bytes(outcomes[0]) for outcome in outcomes)
    assert len(store.objects) == 1


async def test_other_work_of_the_same_stage_and_the_same_key_of_another_stage_are_apart() -> None:
    store, work = MemoryStore(), Work()
    receipts = _receipts(store)
    names = [
        (await receipts.once(stage, key, CAUSE, work)).name
        for stage, key in (("acting", "t-1"), ("acting", "t-2"), ("acting", "t-1/conflict/x"), ("pure", "t-1"))
    ]
    assert len(set(names)) == 4


async def test_a_successful_put_whose_answer_is_lost_is_recognised() -> None:
    store, work = MemoryStore(), Work()

    async def lost(key: str, body: bytes) -> None:
        raise PreconditionFailed(f"{key} ({len(body)} bytes): exists, says the retry of the client")

    store.after_put = lost
    outcome = await _receipts(store).once("acting", "t-1", CAUSE, work)
    store.after_put = None
    assert outcome.name == "done-1"
    again = await _receipts(store).once("acting", "t-1", CAUSE, work)
    assert work.done == 1
    assert _bytes(again) == _bytes(outcome)


async def test_a_put_that_meets_another_which_is_not_there_yet_is_tried_again() -> None:
    store = MemoryStore()

    async def conflict(key: str, body: bytes) -> None:
        raise PreconditionFailed(f"{key} ({len(body)} bytes): 409, another put is under way")

    store.before_put = conflict
    with pytest.raises(Transient):
        await _receipts(store).once("acting", "t-1", CAUSE, Work())


@pytest.mark.parametrize("took_place", [False, True])
async def test_a_crash_at_the_record_loses_at_most_the_work(*, took_place: bool) -> None:
    store, work = MemoryStore(), Work()

    async def crash(key: str, body: bytes) -> None:
        raise Unavailable(f"{key}: {len(body)} bytes")

    if took_place:
        store.after_put = crash
    else:
        store.before_put = crash
    with pytest.raises(Unavailable):
        await _receipts(store).once("acting", "t-1", CAUSE, work)
    store.before_put = store.after_put = None
    outcome = await _receipts(store).once("acting", "t-1", CAUSE, work)
    assert work.done == (1 if took_place else 2)
    assert outcome.name == f"done-{work.done}"


async def test_a_crash_in_the_work_records_nothing() -> None:
    store = MemoryStore()

    async def crash() -> Decision:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await _receipts(store).once("acting", "t-1", CAUSE, crash)
    assert store.objects == {}
    assert await _receipts(store).recorded("acting", "t-1") is None


async def test_the_ids_follow_from_the_work_and_not_from_who_did_it_when() -> None:
    late = ManualClock()
    await late.advance(1000)
    one = await _receipts(MemoryStore()).once("acting", "t-1", CAUSE, Work())
    other = await _receipts(MemoryStore(), clock=late).once("acting", "t-1", CAUSE, Work())
    assert [said.id for said in one.events] == [said.id for said in other.events]


async def test_an_older_version_s_outcome_is_reused_and_the_newest_of_several_is_said() -> None:
    store, work = MemoryStore(), Work()
    first = await _receipts(store, {"pure": 1}).once("pure", "d-1", CAUSE, work)
    assert _bytes(await _receipts(store, {"pure": 3}).once("pure", "d-1", CAUSE, work)) == _bytes(first)
    assert work.done == 1
    # What a recomputation leaves: the same work, recorded under a later version.
    recomputed = await _receipts(MemoryStore(), {"pure": 2}).once("pure", "d-1", CAUSE, work)
    other = MemoryStore()
    await _receipts(other, {"pure": 2}).once("pure", "d-1", CAUSE, work)
    store.objects.update(other.objects)
    found = await _receipts(store, {"pure": 3}).recorded("pure", "d-1")
    assert found is not None
    assert found.name == f"done-{work.done}"
    assert {said.id for said in recomputed.events}.isdisjoint(said.id for said in first.events)


async def test_a_name_that_looks_like_a_path_stays_a_name() -> None:
    store, work = MemoryStore(), Work()
    for task_id in ("..", ".", "a"):
        await _receipts(store).once("acting", task_id, CAUSE, work)
    assert work.done == 3
    assert (await _receipts(store).once("acting", "..", CAUSE, work)).name == "done-1"
