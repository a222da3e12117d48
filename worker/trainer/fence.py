"""May this process still train? The task's state in the bucket decides, and SIGTERM."""

import asyncio
import enum
import threading
import time

import msgspec
import structlog
from msgspec import Struct

from contracts.training import Checkpoint
from handlers import layout
from handlers.errors import Unavailable
from handlers.ports import JobSpec, ObjectStore

log = structlog.get_logger()

#: Heartbeats without an answer after which training ends: nobody could stop or supersede it any more.
_BLIND_HEARTBEATS = 24


class Standing(enum.Enum):
    """What this process may do."""

    #: Train.
    RUN = "run"
    #: Save a checkpoint and end: the user wants it, or the machine.
    STOP = "stop"
    #: Save a checkpoint and end: the state has not been readable for too long.
    BLIND = "blind"
    #: End without another word: the task has gone on to another attempt, or is gone.
    SUPERSEDED = "superseded"


class Superseded(Exception):
    """Another attempt counts now."""


class Interrupted(Exception):
    """Training ended because it was told to; ``checkpoint`` is where it can go on, if anywhere."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        super().__init__("interrupted")
        self.checkpoint = checkpoint


class _State(Struct):
    attempt: int
    desired: str = "run"


class Fence:
    """Watches ``tasks/<id>/state.json``. What is found is final, except that SUPERSEDED overrides the others.

    ``standing`` may be read from any thread at any time; it never blocks.
    """

    def __init__(self, store: ObjectStore, spec: JobSpec, heartbeat_seconds: float, stop: threading.Event) -> None:
        self._store, self._spec, self._stop = store, spec, stop
        self._heartbeat_seconds = heartbeat_seconds
        self._found = Standing.RUN
        self._seen_at = time.monotonic()

    @property
    def standing(self) -> Standing:
        """Return what this process may do, as far as it is known."""
        if self._found is Standing.RUN and self._stop.is_set():
            return Standing.STOP
        return self._found

    def check(self) -> None:
        """Raise Superseded where another attempt counts."""
        if self.standing is Standing.SUPERSEDED:
            raise Superseded(f"attempt {self._spec.attempt} of {self._spec.task_id} counts no more")

    async def look(self) -> Standing:
        """Read the state once. Raises Unavailable where the bucket does not answer."""
        stored = await self._store.get(layout.task(self._spec.task_id, "state"))
        self._seen_at = time.monotonic()
        state = msgspec.json.decode(stored.body, type=_State) if stored else None
        if state is None or state.attempt != self._spec.attempt:
            self._found = Standing.SUPERSEDED
        elif state.desired != "run" and self._found is Standing.RUN:
            self._found = Standing.STOP
        return self.standing

    async def keep_looking(self) -> None:
        """Look at every heartbeat, until cancelled. Never raises otherwise."""
        while self._found is not Standing.SUPERSEDED:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self.look()
            except (Unavailable, msgspec.MsgspecError) as error:
                log.warning("state.unreadable", error=str(error))
                if time.monotonic() - self._seen_at > _BLIND_HEARTBEATS * self._heartbeat_seconds:
                    self._found = Standing.BLIND
