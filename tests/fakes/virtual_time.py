"""An event loop whose time jumps to whatever happens next: hours of a service in seconds, the same every time."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

Result = TypeVar("Result")

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class NothingLeft(Exception):
    """Everybody waits for something that no timer brings."""


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting it moves the time on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise NothingLeft
            self.now += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on virtual time. For code that waits for timers and for itself: no threads, no sockets."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class VirtualClock:
    """A Clock that shows the loop's time."""

    def now(self) -> datetime:
        return _BEGIN + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run_virtually(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end on virtual time, which begins at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
