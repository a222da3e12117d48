"""The markers by which tasks wait for the reports on their datasets: a join of two topics without a database.

A task leaves a marker under each of its datasets and then looks at their reports; a report is stored before its event
looks for markers. The bucket is strongly consistent, so of two that cross at least one sees the other.
"""

from collections.abc import Iterable

from msgspec import Struct

from handlers import compare_and_set, layout
from handlers.ports.store import ObjectStore


class _Woken(Struct, frozen=True):
    """The tasks that waited for a dataset when the event of its verdict came."""

    task_ids: tuple[str, ...]


async def wait(store: ObjectStore, task_id: str, dataset_ids: Iterable[str]) -> None:
    """Leave a task's markers. Idempotent."""
    for dataset_id in dataset_ids:
        await store.put(layout.waiting(dataset_id, task_id), b"")


async def wait_no_more(store: ObjectStore, task_id: str, dataset_ids: Iterable[str]) -> None:
    """Remove a task's markers. Idempotent."""
    for dataset_id in dataset_ids:
        await store.delete(layout.waiting(dataset_id, task_id))


async def woken_by(store: ObjectStore, dataset_id: str, event_id: str) -> tuple[str, ...]:
    """Return the tasks that wait for a dataset, and those that did when this event of its verdict came before.

    A marker goes when its task is decided. A crash after that and before the publishing must find the task again.
    """
    prefix = layout.waiting(dataset_id)
    waiting = {layout.name_of(marker.key.removeprefix(prefix)) async for marker in store.list(prefix)}

    def added(held: _Woken | None) -> _Woken | None:
        every = waiting.union(held.task_ids if held else ())
        return _Woken(tuple(sorted(every))) if every and (held is None or every > set(held.task_ids)) else None

    held = await compare_and_set.update(store, layout.woken(dataset_id, event_id), _Woken, added)
    return held.task_ids if held else ()
