"""Saying follow-ons: ours, the raw client pipelined, and one at a time. Each returns events a second."""

import asyncio
import time

from aiokafka import AIOKafkaProducer

from contracts.codec import encode
from contracts.envelope import Event
from tests.bench.events.records import KEYS
from tests.bench.events.side_by_side import AT_ONCE, publishing_to, seconds_of
from tests.fakes.events import event


def _events(count: int) -> list[Event[object]]:
    body = {"command_id": "c", "task_id": "t", "command": "stop"}
    return [event("task.command", body | {"task_id": f"t{n % KEYS}"}) for n in range(count)]


def ours(servers: str, count: int) -> float:
    """Two follow-ons a piece of work, as many pieces side by side as a stage runs."""

    async def run() -> float:
        events = _events(count)
        pairs = iter([events[begin : begin + 2] for begin in range(0, count, 2)])

        async with publishing_to(servers) as publisher:

            async def lane() -> None:
                for pair in pairs:
                    await publisher.publish(pair)

            return await seconds_of(lane)

    return count / asyncio.run(run())


def pipelined(servers: str, count: int) -> float:
    """The raw client, sending all and then awaiting all, 128 at a time: as many as ours has under way."""
    return _raw(servers, count, at_once=2 * AT_ONCE)


def one_at_a_time(servers: str, count: int) -> float:
    """The raw client, each event awaited before the next."""
    return _raw(servers, count, at_once=1)


def _raw(servers: str, count: int, at_once: int) -> float:
    async def run() -> float:
        records = [encode(each) for each in _events(count)]
        producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=2)
        await producer.start()
        began = time.perf_counter()
        for begin in range(0, count, at_once):
            sent = [
                await producer.send("task.command", body, key=key, headers=headers)
                for key, body, headers in records[begin : begin + at_once]
            ]
            await asyncio.gather(*sent)
        seconds = time.perf_counter() - began
        await producer.stop()
        return seconds

    return count / asyncio.run(run())
