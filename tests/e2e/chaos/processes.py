"""The round's processes: workers that are started again whenever they die, and the trainers they left."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from worker import tied_process
from worker.demo.processes import child_environment
from worker.settings import Settings

_STOP_SECONDS = 60.0


class ChaosWorker:
    """One worker under a supervisor. ``deaths`` says how it ended each time."""

    def __init__(self, settings: Settings, environment: dict[str, str], log_file: Path, skew: float) -> None:
        self._environment = child_environment(settings) | environment
        self._log_file = log_file
        self._skew = skew
        self._next_boundary: tuple[str, int] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self.deaths: list[int] = []

    async def __aenter__(self) -> Self:
        await self._start()
        self._supervisor = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._supervisor is not None
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        if (process := self._running()) is not None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal the worker, if it runs just now."""
        if (process := self._running()) is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def die_next_at(self, boundary: str, times: int) -> None:
        """Kill it now; the next one dies at a boundary."""
        self._next_boundary = (boundary, times)
        self.send(signal.SIGKILL)

    def _running(self) -> asyncio.subprocess.Process | None:
        return self._process if self._process and self._process.returncode is None else None

    async def _start(self) -> None:
        boundary, self._next_boundary = self._next_boundary, None
        arguments = ["--skew", str(self._skew)]
        if boundary:
            arguments += ["--boundary", boundary[0], "--times", str(boundary[1])]
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", tied_process.__file__, str(os.getpid())),
                *(sys.executable, "-m", "tests.e2e.chaos.worker_process", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )

    async def _supervise(self) -> None:
        while True:
            assert self._process is not None
            self.deaths.append(await self._process.wait())
            await self._start()


def trainers(work_dir: Path) -> list[int]:
    """Return the pids of the trainers of a work folder that run now, without their supervisors."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().split(b"\0")
                if b"tests.e2e.chaos.trainer" in command and os.fsencode(work_dir) in b"".join(command[-2:]):
                    found.append(int(folder.name))
    return found


def kill_a_trainer(work_dir: Path, dice: random.Random) -> bool:
    """Kill one, with -9; return whether there was one."""
    running = sorted(trainers(work_dir))
    if running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(running), signal.SIGKILL)
    return bool(running)
