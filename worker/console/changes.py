"""What changed in the view, numbered, so that a page that was away can be told what it missed."""

import asyncio
import re
import secrets
from collections import deque
from typing import Literal, NamedTuple

Kind = Literal["task", "dataset", "fee", "tasks"]

#: Changes that are remembered. A page that was away for longer is told to ask for everything again.
_REMEMBERED = 20_000
_POSITION = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})", re.ASCII)


class Change(NamedTuple):
    """Something of a project is not as it was: its kind and its id, never what it is now."""

    kind: Kind
    id: str
    project: str | None


class Changes:
    """Numbered changes. A position is ``<run>-<number>``; one of another run of the console means nothing here."""

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)
        self._kept: deque[Change] = deque(maxlen=_REMEMBERED)
        self._number = 0
        self._more = asyncio.Event()
        self.closed = False

    @property
    def position(self) -> str:
        """Return the position after all that has changed by now."""
        return f"{self._run}-{self._number}"

    def add(self, kind: Kind, id_: str, project: str | None) -> None:
        """Note a change and wake whoever waits."""
        self._kept.append(Change(kind, id_, project))
        self._number += 1
        self._wake()

    def close(self) -> None:
        """End every wait for good: the console stops."""
        self.closed = True
        self._wake()

    def since(self, position: str) -> list[Change] | None:
        """Return what changed after a position, each once; None where that is not known any more."""
        match = _POSITION.fullmatch(position)
        if not match or match[1] != self._run:
            return None
        missed = self._number - int(match[2])
        if missed < 0 or missed > len(self._kept):
            return None
        return list(dict.fromkeys(list(self._kept)[len(self._kept) - missed :]))

    async def wait(self, position: str, seconds: float) -> None:
        """Return once something changed after a position, the console stops, or the time is over."""
        more = self._more
        if self.closed or position != self.position:
            return
        try:
            async with asyncio.timeout(seconds):
                await more.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
