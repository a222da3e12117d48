"""A counter in a bucket that several processes raise at once: each change is read, raised and put by If-Match."""

import asyncio

from handlers.errors import PreconditionFailed
from worker.settings import Settings
from worker.storage import open_store

KEY = "counters/c"


def count_up(settings: Settings, times: int) -> None:
    """Raise the counter so many times. Run in a process of its own."""
    asyncio.run(_count_up(settings, times))


async def _count_up(settings: Settings, times: int) -> None:
    async with open_store(settings) as store:
        done = 0
        while done < times:
            stored = await store.get(KEY)
            try:
                if stored is None:
                    await store.put(KEY, b"1", if_none_match=True)
                else:
                    await store.put(KEY, b"%d" % (int(stored.body) + 1), if_match=stored.etag)
            except PreconditionFailed:
                continue
            done += 1
