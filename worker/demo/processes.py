"""The processes of a demo: a worker under a supervisor, and helpers that run to their end. None outlives the demo."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

from worker import child_process, tied_process
from worker.settings import Settings

_STOP_SECONDS = 25.0


class ProcessFailed(RuntimeError):
    """A process of the demo ended badly; the text ends with what it printed last."""


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a child that must see these settings and nothing of the caller's WORKER_ variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    return inherited | settings.to_environment() | {"KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers}


async def run_to_end(settings: Settings, *arguments: str) -> str:
    """Run ``python -m ...`` to its end and return what it printed. Raises ProcessFailed with its last lines."""
    process = await asyncio.create_subprocess_exec(
        *tied_process.tie(),
        *(sys.executable, "-m", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(settings),
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise ProcessFailed(f"{' '.join(arguments)} ended with {process.returncode}:\n{err.decode()[-1500:]}")
    return out.decode()


class SupervisedWorker:
    """``worker run`` in a process that is started again whenever it dies, as any supervisor would.

    Use as ``async with``; at the end it gets SIGTERM and time to drain.
    """

    def __init__(self, settings: Settings, log_file: Path, on_restart: Callable[[int], None]) -> None:
        self._settings = settings
        self._log_file = log_file
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Return the worker's process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def __aenter__(self) -> Self:
        await self._start()
        self._supervisor = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._supervisor:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await child_process.end(self._process, _STOP_SECONDS)

    async def _start(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tied_process.tie(),
                *(sys.executable, "-m", "worker", "run"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(self._settings),
                start_new_session=True,  # a Ctrl-C at the terminal reaches the demo, which stops the worker in order
            )

    async def _supervise(self) -> None:
        deaths = 0
        while True:
            assert self._process is not None
            code = await self._process.wait()
            deaths += 1
            if deaths > 5:
                self._on_restart(code)
                return
            self._on_restart(code)
            await self._start()
