"""``worker run`` with a clock that is wrong and traps to walk into: ``python -m tests.e2e.chaos.worker_process``.

Everything else is the service's own: the composition root, the local executor with its real supervisors, the bucket.
With the real trainer it is the service as it is; with the stand-in, tokens are not counted either.
"""

import argparse
import asyncio
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.e2e.chaos import stand_in
from tests.e2e.chaos.boundaries import walk_into
from tests.e2e.chaos.s3_faults import HANGING_SECONDS
from tests.e2e.chaos.trainers import KINDS
from tests.fakes.executors import FakeExecutors
from tests.fakes.tokens import FakeTokenCounter
from worker.app import run_worker
from worker.clock import SystemClock
from worker.executors.local import LocalExecutor
from worker.settings import Settings
from worker.storage import s3
from worker.telemetry import configure_logging

#: Less than the bucket is silent for when it hangs, so that the client's own time limit is what ends a request.
_READ_SECONDS = HANGING_SECONDS - 1.0


class SkewedClock(SystemClock):
    """The machine's clock, so many seconds off."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """Return the wrong time."""
        return super().now() + self._off


async def run(skew_seconds: float, trainer: str) -> None:
    """Run every stage until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    settings = Settings.from_environment()
    ports: dict[str, Any] = {"clock": SkewedClock(skew_seconds)}
    executor: LocalExecutor | None = None
    if trainer == "stand-in":
        command = (sys.executable, "-m", stand_in.__name__)
        executor = LocalExecutor(settings.work_dir, settings.local_slots or 1, command, settings.to_environment())
        ports["executors"] = FakeExecutors(executor)
        ports["tokens"] = FakeTokenCounter(1)
    await run_worker(settings, stopping=stopping, ports=ports)
    if executor is not None:
        await executor.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trainer", choices=sorted(KINDS), required=True)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--traps", type=Path)
    given = parser.parse_args()
    configure_logging("json", "info")
    s3.READ_SECONDS = _READ_SECONDS
    if given.traps:
        walk_into(given.traps)
    asyncio.run(run(given.skew, given.trainer))
