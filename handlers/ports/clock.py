"""The time, as handlers need it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The time. Injected so that tests decide what time it is."""

    def now(self) -> datetime:
        """Return the current time, UTC, with its time zone."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...
