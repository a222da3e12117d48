"""Publishes what trainers put into the bucket instead of saying it over Kafka: one listing finds all of it."""

import asyncio

import structlog
from aiokafka.errors import MessageSizeTooLargeError

from contracts import event_file
from contracts.codec import Poison
from contracts.event_file import Record
from handlers import layout
from handlers.errors import Transient
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from worker.delivery.publishing import Publisher
from worker.sweeps.members import Members

log = structlog.get_logger()

TOPIC = "training.progress"

#: Task and attempt.
_Owner = tuple[str, int]

#: Attempts whose events are published side by side.
_ATTEMPTS = 16
#: What becomes a dead letter must fit into a record.
_LONGEST_POISON_BYTES = 100_000


class OutboxSweep:
    """One worker sweeps at a time (:class:`Members`); two of them say events twice, under one id.

    Costs one listing a sweep however many tasks there are, and a read and a delete for each object that is there.
    """

    def __init__(
        self, store: ObjectStore, publisher: Publisher, clock: Clock, *, every_seconds: float, lease_seconds: float
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._every_seconds = every_seconds
        # One shard: of all who are there, one sweeps.
        self._members = Members(store, clock, "outbox", lease_seconds, 1)

    async def run(self) -> None:
        """Sweep until cancelled. What cannot be published stays for the next sweep."""
        try:
            while True:
                try:
                    await self.sweep()
                except* Transient as errors:
                    log.warning("outbox.waits", error=repr(errors.exceptions[0]))
                except* Exception:
                    # Whatever it is, it must not end all stages of this worker.
                    log.exception("outbox.broken")
                await asyncio.sleep(self._every_seconds)
        finally:
            await self._members.leave()

    async def sweep(self) -> None:
        """Publish what waits and delete it, in order within an attempt, as long as it is ours to do.

        Raises:
            Transient: the bucket does not answer.
            ExceptionGroup: of Transient; nor does it, or the broker. What was not published waits.
        """
        if not await self._members.share():
            return
        waiting: dict[_Owner, list[str]] = {}
        async for info in self._store.list(layout.outbox()):
            waiting.setdefault(layout.outbox_owner(info.key), []).append(info.key)
        owners = list(waiting)
        for first in range(0, len(owners), _ATTEMPTS):
            async with asyncio.TaskGroup() as group:
                for owner in owners[first : first + _ATTEMPTS]:
                    group.create_task(self._take(owner, waiting[owner]))
            if not await self._members.share():
                return

    async def _take(self, owner: _Owner, keys: list[str]) -> None:
        try:
            for key in keys:
                if stored := await self._store.get(key):
                    await self._publish(key, owner, stored.body)
                    await self._store.delete(key)
        except Transient:
            raise
        except Exception:
            # One attempt's bug must not keep the others' events.
            log.exception("outbox.attempt_failed", task_id=owner[0], attempt=owner[1])

    async def _publish(self, key: str, owner: _Owner, body: bytes) -> None:
        try:
            await self._publisher.send(_records(owner, body))
        except (Poison, MessageSizeTooLargeError) as error:
            # As with any poison: the topic's own stage makes a dead letter of it, for a person to look at.
            log.error("outbox.unreadable", key=key, error=str(error))
            await self._publisher.send([(TOPIC, owner[0].encode(), body[:_LONGEST_POISON_BYTES], [])])


def _records(owner: _Owner, body: bytes) -> list[Record]:
    """Return an object's events as records. Raises Poison, also where one is not by the attempt whose outbox it is."""
    events = event_file.read(body)
    for event in events:
        if event.topic != TOPIC or (event.data.task_id, event.data.attempt) != owner:
            raise Poison(
                "foreign-event", f"{event.topic} of {event.key} in the outbox of {owner[0]}, attempt {owner[1]}"
            )
    return [event_file.record(event) for event in events]
