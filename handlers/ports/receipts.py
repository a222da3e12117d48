"""Recorded outcomes, as handlers need them."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from contracts.envelope import Event
from handlers.outcome import Decision, Outcome


class Receipts(Protocol):
    """Recorded outcomes. The one place where "exactly once" is made."""

    async def once(
        self, stage: str, business_key: str, cause: Event[Any], work: Callable[[], Awaitable[Decision]]
    ) -> Outcome:
        """Return the recorded outcome of this work; where there is none, do the work and record it first.

        Idempotent, and safe under concurrent callers and processes: all of them return the outcome recorded first,
        with the same events under the same ids. ``work`` may run more than once (a crash before the record), so it
        must be safe to repeat.
        """
        ...

    async def recorded(self, stage: str, business_key: str) -> Outcome | None:
        """Return the recorded outcome, or None."""
        ...
