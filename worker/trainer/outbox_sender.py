"""Progress over the bucket: where there is no Kafka for this trainer, or none that answers."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import structlog

from contracts import event_file
from handlers import layout
from handlers.ports.jobs import JobSpec
from handlers.ports.store import ObjectStore
from worker.settings import Settings
from worker.storage import open_store
from worker.trainer.event_buffer import EventBuffer

log = structlog.get_logger()

_LONGEST_LOOK_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0


class OutboxSender:
    """Puts events that have waited too long into the attempt's outbox, all of them into one object.

    A worker publishes them from there, under the ids they have. ``patience_seconds`` is how long an event may wait for
    another sender, or for company; with ``essential_at_once`` that holds for mere progress alone.
    """

    def __init__(
        self, settings: Settings, spec: JobSpec, patience_seconds: float, *, essential_at_once: bool = False
    ) -> None:
        self._settings, self._spec = settings, spec
        self._patience_seconds = patience_seconds
        self._essential_at_once = essential_at_once
        self.wake = asyncio.Event()

    async def run(self, buffer: EventBuffer) -> None:
        """Look after the buffer until cancelled. Never raises otherwise: a silent bucket is tried again."""
        async with AsyncExitStack() as stack:
            store: ObjectStore | None = None  # most trainers with Kafka never need it
            pause = 0.5
            while True:
                await self._look_again()
                if not buffer.overdue(self._patience_seconds, essential_at_once=self._essential_at_once):
                    continue
                try:
                    if store is None:
                        store = await stack.enter_async_context(open_store(self._settings))
                    await self._put(store, buffer)
                    pause = 0.5
                except Exception as error:  # noqa: BLE001 - whatever a client raises, training goes on and this is tried again
                    log.warning("outbox.unreachable", error=repr(error), retry_in=pause)
                    await asyncio.sleep(pause)
                    pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _look_again(self) -> None:
        """Wait for an event, or until one may have become overdue."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._patience_seconds / 2, _LONGEST_LOOK_SECONDS)):
                await self.wake.wait()
        self.wake.clear()

    async def _put(self, store: ObjectStore, buffer: EventBuffer) -> None:
        if not (events := buffer.oldest()):
            return
        first, last = events[0].data.seq, events[-1].data.seq
        # Named after its events: a put that is repeated with more of them must not replace what is being taken out.
        key = layout.outbox_batch(self._spec.task_id, self._spec.attempt, first, last)
        await store.put(key, event_file.written(events))
        buffer.done(events)
        log.info("outbox.put", key=key, events=len(events))
