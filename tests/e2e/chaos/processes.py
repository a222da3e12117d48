"""The round's processes: workers that are started again whenever they die, and whatever else they started."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from worker import child_process, tied_process
from worker.demo.processes import child_environment
from worker.settings import Settings

_STOP_SECONDS = 60.0


class ChaosWorker:
    """One worker under a supervisor. ``deaths`` says how it ended each time."""

    def __init__(
        self, settings: Settings, environment: dict[str, str], log_file: Path, arguments: tuple[str, ...]
    ) -> None:
        """``arguments`` are those of :mod:`tests.e2e.chaos.worker_process`."""
        self._environment = child_environment(settings) | environment
        self._log_file = log_file
        self._arguments = arguments
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
        await child_process.end(self._process, _STOP_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Signal the worker, if it runs just now."""
        if (process := self._running()) is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _running(self) -> asyncio.subprocess.Process | None:
        return self._process if self._process and self._process.returncode is None else None

    async def _start(self) -> None:
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied_process.tie(),
                *(sys.executable, "-m", "tests.e2e.chaos.worker_process", *self._arguments),
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


def processes_of(settings: Settings) -> dict[int, str]:
    """Return every process that was started for a worker of these settings, by whomever: pid -> command line.

    Told by the environment, which workers, supervisors, trainers and the processes of pools have from one another.
    """
    mark = b"WORKER_WORK_DIR=" + os.fsencode(settings.work_dir)
    found = {}
    for folder in Path("/proc").iterdir():
        # Gone meanwhile, or another user's: not ours in either case.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return found
