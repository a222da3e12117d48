"""Marks of imports under the task they are for: two datasets of one task come by different keys, and one fee counts."""

from datetime import datetime

from msgspec import Struct

from handlers import compare_and_set, layout
from handlers.ports.store import ObjectStore


class Mark(Struct, frozen=True, kw_only=True):
    """The newest import that carried a draft of this task."""

    task_id: str
    imported_at: datetime
    digest: str


async def newest(store: ObjectStore, task_id: str) -> Mark | None:
    """Return the newest mark of a task, or None."""
    return await compare_and_set.read(store, layout.task(task_id, "draft"), Mark)


async def mark(store: ObjectStore, new: Mark) -> None:
    """Mark an import under its task, unless a newer one is marked already. Idempotent."""

    def newer(held: Mark | None) -> Mark | None:
        return None if held and held.imported_at >= new.imported_at else new

    await compare_and_set.update(store, layout.task(new.task_id, "draft"), Mark, newer)
