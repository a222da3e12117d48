"""A limit on bugs: after a bad deploy a stage stops before it has drained a topic into dead letters.

Poison does not count, for one bad publisher can send any amount of it. What is stopped stays stopped, also over
restarts and in whichever worker has the partition, until somebody says to go on (:func:`allow`).
"""

from datetime import datetime, timedelta

import structlog
from msgspec import Struct, json
from msgspec.structs import replace

from handlers import compare_and_set, layout
from handlers.errors import Transient
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from worker.delivery.source import Source

log = structlog.get_logger()

_LOOK_SECONDS = 5.0

Partition = tuple[str, int]


class BugsOfPartition(Struct, frozen=True, kw_only=True):
    """What is kept of a partition: the offsets given up on for a bug, each with when, and since when it is stopped."""

    topic: str
    partition: int
    bugs: dict[str, datetime]
    stopped_at: datetime | None = None


class BugLimit:
    """Counts a stage's bugs a partition, in the bucket. What is in memory only says which partitions to pause."""

    def __init__(self, store: ObjectStore, clock: Clock, stage: str, *, bugs: int, window_seconds: float) -> None:
        """Allow ``bugs`` dead letters for bugs a partition in any ``window_seconds``."""
        self._store = store
        self._clock = clock
        self._stage = stage
        self._bugs = bugs
        self._window = timedelta(seconds=window_seconds)
        self._stopped: set[Partition] = set()
        self._look_at: float | None = 0.0

    @property
    def stopped(self) -> frozenset[Partition]:
        """Return the (topic, partition) that wait for somebody's word, as last seen."""
        return frozenset(self._stopped)

    async def admits(self, source: Source) -> bool:
        """Return whether one more record may be given up on for a bug. Idempotent a record.

        Raises Transient where the bucket does not answer.
        """
        now = self._clock.now()

        def decide(found: BugsOfPartition | None) -> BugsOfPartition | None:
            found = found or BugsOfPartition(topic=source.topic, partition=source.partition, bugs={})
            if found.stopped_at or str(source.offset) in found.bugs:
                return None
            recent = {offset: when for offset, when in found.bugs.items() if now - when < self._window}
            if len(recent) >= self._bugs:
                return BugsOfPartition(topic=found.topic, partition=found.partition, bugs=recent, stopped_at=now)
            bugs = {**recent, str(source.offset): now}
            return BugsOfPartition(topic=found.topic, partition=found.partition, bugs=bugs)

        key = layout.bug_limit(self._stage, source.topic, source.partition)
        found = await compare_and_set.update(self._store, key, BugsOfPartition, decide)
        assert found is not None, "decide leaves one, or one was there"
        admitted = str(source.offset) in found.bugs
        if not admitted and (source.topic, source.partition) not in self._stopped:
            self._stopped.add((source.topic, source.partition))
            self._look_at = self._clock.monotonic() + _LOOK_SECONDS
            log.error("stage.stopped", stage=self._stage, topic=source.topic, partition=source.partition)
        return admitted

    def look_again(self) -> None:
        """Note that the assignment changed: what is stopped is read anew at the next :meth:`refresh`."""
        self._look_at = 0.0

    async def refresh(self) -> None:
        """See which partitions are stopped, where it is time to. A bucket that does not answer is asked again later."""
        if self._look_at is None or self._clock.monotonic() < self._look_at:
            return
        try:
            found = await bugs_of(self._store, self._stage)
        except Exception as error:
            # Whoever calls this also commits: nothing here may end that.
            known = isinstance(error, Transient)
            log.warning("bug_limit.not_read", stage=self._stage, error=repr(error), exc_info=not known)
            self._look_at = self._clock.monotonic() + _LOOK_SECONDS
            return
        self._stopped = {(each.topic, each.partition) for each in found if each.stopped_at}
        # Nothing stopped: only this worker's own bugs, or another assignment, can change what concerns us.
        self._look_at = self._clock.monotonic() + _LOOK_SECONDS if self._stopped else None


async def bugs_of(store: ObjectStore, stage: str) -> list[BugsOfPartition]:
    """Return what is kept of a stage's partitions."""
    stored = [await store.get(info.key) async for info in store.list(layout.bug_limit(stage))]
    return [json.decode(found.body, type=BugsOfPartition) for found in stored if found]


async def allow(store: ObjectStore, stage: str) -> list[BugsOfPartition]:
    """Let a stage's stopped partitions go on, each with a fresh count; return what they were. May be called twice."""
    stopped = [found for found in await bugs_of(store, stage) if found.stopped_at]
    for each in stopped:
        key = layout.bug_limit(stage, each.topic, each.partition)
        await compare_and_set.update(store, key, BugsOfPartition, _going_on)
    return stopped


def _going_on(found: BugsOfPartition | None) -> BugsOfPartition | None:
    return replace(found, bugs={}, stopped_at=None) if found else None
