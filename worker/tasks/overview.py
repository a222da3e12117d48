"""Which tasks there are, and where each is."""

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from contracts.codec import Poison, decode
from contracts.task import Phase, TaskStatus
from handlers import layout, task_state
from handlers.ports.store import ObjectStore
from worker.kafka.broker import Brokers
from worker.kafka.topic_reader import NoSuchTopic, read_topic

TOPIC = "task.status"
_READS_AT_ONCE = 32


class Filter(Struct, frozen=True, kw_only=True):
    """Which tasks are meant; what is empty does not matter."""

    task_ids: frozenset[str] = frozenset()
    project: str | None = None
    phases: frozenset[Phase] = frozenset()

    def matches(self, status: TaskStatus) -> bool:
        """Return whether a task is meant."""
        return (
            (not self.task_ids or status.task_id in self.task_ids)
            and self.project in (None, status.project)
            and (not self.phases or status.phase in self.phases)
        )


async def unfinished(store: ObjectStore) -> list[TaskStatus]:
    """Return the tasks that somebody looks after, by id: all that have not ended, and for seconds those that just did.

    Costs a listing for each thousand of them, and a read for each.

    Raises Unavailable.
    """
    return await of(store, [layout.active_task(found.key) async for found in store.list(layout.active_shard())])


async def of(store: ObjectStore, task_ids: Iterable[str]) -> list[TaskStatus]:
    """Return these tasks, by id, without those that nothing is known of. Costs a read for each. Raises Unavailable."""
    places = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(task_id: str) -> TaskStatus | None:
        async with places:
            state = await task_state.read(store, task_id)
        status: TaskStatus | None = task_state.status(state).data if state else None
        return status

    found = await asyncio.gather(*map(read, task_ids))
    return sorted((status for status in found if status), key=lambda status: status.task_id)


async def every(brokers: Brokers) -> list[TaskStatus]:
    """Return all tasks that ``task.status`` tells of, by id, as it tells of them last.

    Costs reading the whole topic, which is compacted to a record a task; asks nothing of the bucket.

    Raises BrokerUnavailable.
    """
    newest: dict[str, TaskStatus] = {}
    try:
        async for record in read_topic(brokers, TOPIC):
            status = status_in(record.key, record.value, record.headers)
            known = newest.get(status.task_id) if status else None
            if status and (known is None or status.revision >= known.revision):
                newest[status.task_id] = status
    except NoSuchTopic:
        return []
    return [newest[task_id] for task_id in sorted(newest)]


def status_in(key: bytes | None, body: bytes | None, headers: list[tuple[str, bytes | None]]) -> TaskStatus | None:
    """Return what a record of ``task.status`` says, or None where it cannot be read."""
    try:
        said: TaskStatus = decode(TOPIC, key, body, headers).data
    except Poison:
        return None
    return said
