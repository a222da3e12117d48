"""What is cancelled ends, though a cancellation is lost on the way."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from worker.cancelling import cancel
from worker.kafka import broker


async def test_a_task_that_loses_its_first_cancellation_ends() -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def failing() -> None:
        raise RuntimeError("looked at by nobody")

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(failing())]
    await asyncio.sleep(0)
    await cancel(tasks)
    await cancel(tasks)
    assert tasks[0].cancelled()


class Producer:
    """A producer of aiokafka, as far as it is thrown away. ``stop`` waits for what cannot be sent."""

    def __init__(self, stop: Callable[[], Awaitable[None]]) -> None:
        self.stop = stop
        self.closed: list[str] = []
        self._sender = self._closer("sender")
        self.client = self._closer("client")

    def _closer(self, name: str) -> Any:
        async def close() -> None:
            self.closed.append(name)

        return type("Closer", (), {"close": staticmethod(close)})


async def test_a_producer_that_cannot_flush_is_closed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "_STOP_SECONDS", 0.01)

    async def never() -> None:
        await asyncio.Event().wait()

    async def at_once() -> None:
        return None

    stuck, well = Producer(never), Producer(at_once)
    await broker.thrown_away(stuck)
    await broker.thrown_away(well)
    assert stuck.closed == ["sender", "client"]
    assert well.closed == []
