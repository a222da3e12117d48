"""May this process still train? The task's state in the bucket decides, and SIGTERM."""

import asyncio
import enum
import os
import threading
import time
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct

from contracts.training import Checkpoint
from handlers import compare_and_set, layout
from handlers.ports.jobs import JobSpec
from handlers.ports.store import ObjectStore

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
    #: End without another word: the task has gone on to another attempt, has ended, or is gone; or another process
    #: has this very attempt.
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
    phase: str = "Running"


class _Runner(Struct, frozen=True):
    """Which process has an attempt. The first one has it for good: what another does under its prefix would mix."""

    nonce: str


#: Phases in which a task wants nothing of a trainer any more. Completing: this attempt, or its copy, has succeeded.
_OVER = frozenset({"Completing", "Completed", "Failed", "Terminated"})


class Fence:
    """Watches ``tasks/<id>/state.json``. What is found is final, except that SUPERSEDED overrides the others.

    ``standing`` may be read from any thread at any time; it never blocks.
    """

    def __init__(self, store: ObjectStore, spec: JobSpec, heartbeat_seconds: float, stop: threading.Event) -> None:
        self._store, self._spec, self._stop = store, spec, stop
        self._heartbeat_seconds = heartbeat_seconds
        self._found = Standing.RUN
        self._seen_at = time.monotonic()
        self._runner = _Runner(uuid4().hex)
        self._claimed = False

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

    @property
    def claimed(self) -> bool:
        """Return whether this process has the attempt: whoever has not must not say a word."""
        return self._claimed

    async def claim(self) -> None:
        """Take the attempt for this process, for good; SUPERSEDED where another process has it. May be repeated.

        An engine can start a job twice: both would be the attempt that counts, and write under one prefix. Of the
        processes of one job, the first (rank 0) claims for all. Raises Unavailable where the bucket does not answer.
        """
        if os.environ.get("RANK", "0") != "0":
            self._claimed = True
            return
        key = layout.runner(self._spec.task_id, self._spec.attempt)
        held = await compare_and_set.first(self._store, key, self._runner)
        if held != self._runner:
            log.warning("attempt.taken", task_id=self._spec.task_id, attempt=self._spec.attempt)
            self._found = Standing.SUPERSEDED
        self._claimed = held == self._runner

    async def look(self) -> Standing:
        """Read the state once. Raises Unavailable where the bucket does not answer."""
        stored = await self._store.get(layout.task(self._spec.task_id, "state"))
        self._seen_at = time.monotonic()
        state = msgspec.json.decode(stored.body, type=_State) if stored else None
        if state is None or state.attempt != self._spec.attempt or state.phase in _OVER:
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
            except Exception as error:  # noqa: BLE001 - whoever does not look can be stopped by nobody any more
                log.warning("state.unreadable", error=repr(error))
                if time.monotonic() - self._seen_at > _BLIND_HEARTBEATS * self._heartbeat_seconds:
                    self._found = Standing.BLIND
