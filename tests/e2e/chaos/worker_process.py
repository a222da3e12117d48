"""``worker run`` with a clock that is wrong and a boundary to die at: ``python -m tests.e2e.chaos.worker_process``.

Everything else is the service's own: the composition root, the local executor with its real supervisors, the bucket.
"""

import argparse
import asyncio
import signal
import sys
from datetime import datetime, timedelta

from tests.e2e.chaos.boundaries import BOUNDARIES, die_at
from tests.fakes.tokens import FakeTokenCounter
from worker.app import run_worker
from worker.clock import SystemClock
from worker.executors.local import LocalExecutor
from worker.settings import Settings
from worker.telemetry import configure_logging

TRAINER = (sys.executable, "-m", "tests.e2e.chaos.trainer")


class SkewedClock(SystemClock):
    """The machine's clock, so many seconds off."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return the wrong time."""
        return super().now() + self._off


async def run(skew_seconds: float) -> None:
    """Run every stage until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    settings = Settings.from_environment()
    executor = LocalExecutor(settings.work_dir, settings.local_slots, TRAINER, settings.to_environment())
    ports = {"clock": SkewedClock(skew_seconds), "executor": executor, "tokens": FakeTokenCounter(1)}
    await run_worker(settings, stopping=stopping, ports=ports)
    await executor.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--boundary", choices=sorted(BOUNDARIES))
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    configure_logging("json", "info")
    if given.boundary:
        die_at(given.boundary, given.times)
    asyncio.run(run(given.skew))
