"""What the benchmarks put on topics, and a clock that begins with the first record."""

import asyncio
import time
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from contracts.codec import encode_body

KEYS = 1000


class Stopwatch:
    """Measures from the first record to the last: joining a group is in nobody's figure."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._began = 0.0
        self.done = asyncio.Event()

    def saw(self, records: int = 1) -> None:
        """Note records that are done with."""
        self._began = self._began or time.perf_counter()
        self._left -= records
        if self._left <= 0:
            self.done.set()

    def stop(self) -> float:
        """Return the seconds until now."""
        return time.perf_counter() - self._began


def command(number: int, task_id: str) -> bytes:
    """Return the body of a stop."""
    return encode_body({"command_id": f"c{number}", "task_id": task_id, "command": "stop"})


def progress(seq: int, task_id: str) -> bytes:
    """Return the body of a step's progress."""
    step = {"step": seq, "total_steps": 1_000_000, "loss": 1.25, "tokens_per_second": 1000.0}
    return encode_body({"task_id": task_id, "attempt": 1, "seq": seq, "state": "running", "progress": step})


def _envelope(name: str) -> list[tuple[str, bytes]]:
    attributes = {
        "id": uuid4().hex,
        "type": name,
        "source": "bench",
        "specversion": "1.0",
        "time": "2026-01-01T00:00:00Z",
    }
    return [(f"ce_{attribute}", value.encode()) for attribute, value in attributes.items()]


async def fill(servers: str, name: str, records: list[tuple[bytes, bytes]]) -> None:
    """Send (key, body) records to a topic, each with an envelope as platforms send it."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=5)
    await producer.start()
    try:
        for begin in range(0, len(records), 5000):
            sent = [
                await producer.send(name, body, key=key, headers=_envelope(name))
                for key, body in records[begin : begin + 5000]
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()
