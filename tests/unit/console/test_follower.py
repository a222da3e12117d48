"""Following: everything from the beginning, poison left to the worker, an outage waited for and shown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from contracts.codec import encode_body
from tests.fakes.console import status
from tests.wait import wait_until
from worker.console import follower
from worker.console.changes import Changes
from worker.console.view import View
from worker.kafka.broker import Brokers, BrokerUnavailable

PLACE = TopicPartition("task.status", 0)


def _record(body: bytes) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("task.status", 0, 0, 0, 0, b"t-1", body, 0, 3, len(body), ())


class FakeConsumer:
    """A topic of a few records; its assignment is known after the first poll, as with a real one."""

    def __init__(self, *bodies: bytes) -> None:
        self._bodies, self._read = list(bodies), 0

    def assignment(self) -> set[TopicPartition]:
        return {PLACE} if self._read else set()

    async def end_offsets(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, len(self._bodies))

    async def position(self, place: TopicPartition) -> int:
        return self._read

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        await asyncio.sleep(0)
        if self._read == len(self._bodies):
            await asyncio.Event().wait()
        self._read += 1
        return {PLACE: [_record(self._bodies[self._read - 1])]}


async def test_it_reads_to_the_end_over_poison_and_through_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[bool] = []
    good = [encode_body(status("t-1", "Queued", 1)), b"not JSON", encode_body(status("t-1", "Running", 2))]

    @asynccontextmanager
    async def connected(*_: Any, **__: Any) -> AsyncIterator[FakeConsumer]:
        tries.append(view.caught_up)
        if len(tries) == 1:
            raise BrokerUnavailable(Brokers("nowhere:1"))
        yield FakeConsumer(*good)

    async def ensure_topics(_: Brokers) -> list[str]:
        return []

    monkeypatch.setattr(follower, "connected", connected)
    monkeypatch.setattr(follower, "ensure_topics", ensure_topics)
    monkeypatch.setattr(follower, "_AGAIN_SECONDS", 0.0)
    view = View(Changes())
    view.caught_up = True  # it had been, before the broker went
    following = asyncio.create_task(follower.follow(Brokers("nowhere:1"), view))
    await wait_until(lambda: view.caught_up and len(tries) == 2)
    task = view.task("t-1")
    assert task
    assert task.status
    assert task.status.phase.value == "Running"
    assert tries == [True, False], "while it is away pages say so"
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
