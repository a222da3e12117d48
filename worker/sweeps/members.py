"""Members: workers that share a job in shards, each known by an object in the bucket that it keeps changing."""

from typing import NamedTuple
from uuid import uuid4

from handlers import layout
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore


class _Seen(NamedTuple):
    etag: str
    #: When it had this ETag first, by our own clock.
    since: float


class Members:
    """Shares the shards of a job among those who are there, without a coordinator.

    Who is there is judged by each for itself: a member whose object did not change for ``seconds`` of our own monotonic
    clock is gone; clocks are never compared. So for a moment two may have the same shard, or none: what is shared must
    be safe to do twice at once, and may wait.
    """

    def __init__(self, store: ObjectStore, clock: Clock, job: str, seconds: float, shards: int) -> None:
        self._store = store
        self._clock = clock
        self._job = job
        self._mine = layout.member(job, uuid4().hex)
        self._seconds = seconds
        self._shards = shards
        self._beats = 0
        self._beat_at = float("-inf")
        self._seen: dict[str, _Seen] = {}
        self._share: frozenset[int] = frozenset()

    async def share(self) -> frozenset[int]:
        """Return our shards now. Says that we are there where that is due: call more often than every ``seconds``."""
        if self._clock.monotonic() - self._beat_at >= self._seconds / 4:
            await self._beat()
        return self._share

    async def leave(self) -> None:
        """Let the others have our shards at once. Idempotent."""
        self._beat_at, self._share = float("-inf"), frozenset()
        await self._store.delete(self._mine)

    async def _beat(self) -> None:
        self._beats += 1
        await self._store.put(self._mine, str(self._beats).encode())
        self._beat_at = self._clock.monotonic()
        there = sorted(await self._there())
        place = there.index(self._mine)
        self._share = frozenset(shard for shard in range(self._shards) if shard % len(there) == place)

    async def _there(self) -> list[str]:
        """Return whose objects still change, ours included; the others' objects are removed."""
        found = [info async for info in self._store.list(layout.member(self._job))]
        now = self._clock.monotonic()
        before, self._seen = self._seen, {}
        for info in found:
            known = before.get(info.key)
            self._seen[info.key] = known if known and known.etag == info.etag else _Seen(info.etag, now)
        gone = {key for key, each in self._seen.items() if now - each.since >= self._seconds} - {self._mine}
        for key in gone:
            # One that was only slow puts it back.
            await self._store.delete(key)
            del self._seen[key]
        return [*(self._seen.keys() - {self._mine}), self._mine]
