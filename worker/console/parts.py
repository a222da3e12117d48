"""What the pages are made of: the parts that the composition root puts together, or a test."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.envelope import Event
from handlers.ports.catalog import Catalog
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from worker.console.access import Access
from worker.console.settings import ConsoleSettings
from worker.console.signing import Signer
from worker.console.view import View
from worker.letters import Filter, Letter


class Operations(Protocol):
    """What operators do, by the code of the commands. Every method raises Unavailable where nobody answers."""

    async def letters(self, wanted: Filter) -> list[Letter]:
        """Return dead letters, see worker.letters.find."""
        ...

    async def put_back(self, letter: Letter, by: str) -> None:
        """Put a letter back. Raises NotRetryable."""
        ...

    async def drop(self, letter: Letter, by: str) -> None:
        """Note that a letter is done with."""
        ...

    async def replay(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Run ``worker replay`` and return what its ``--json`` says. Raises ReplayFailed with its words."""
        ...


class ReplayFailed(RuntimeError):
    """A replay that could not be done; the text is what the command said."""


@dataclass(frozen=True)
class Console:
    """The parts. ``publish`` returns once every event is acknowledged, and raises Unavailable."""

    settings: ConsoleSettings
    access: Access
    signer: Signer
    view: View
    store: ObjectStore
    catalog: Catalog
    publish: Callable[[Sequence[Event[Any]]], Awaitable[None]]
    operations: Operations
    clock: Clock
