"""A lease in the bucket: one holder at a time does a job nobody must do twice at once, but somebody must do."""

from uuid import uuid4

from msgspec import Struct

from handlers import compare_and_set, layout
from handlers.ports import Clock, ObjectStore

#: The holder of a lease that was let go.
_NOBODY = ""


class _Held(Struct, frozen=True):
    holder: str
    beat: int


class Lease:
    """Held by beating in time. What it guards must still be safe to do twice: a holder may be slow, not dead.

    Staleness is a beat that did not change for ``seconds`` of our own monotonic clock; clocks are never compared.
    """

    def __init__(self, store: ObjectStore, clock: Clock, name: str, seconds: float) -> None:
        self._store = store
        self._clock = clock
        self._key = layout.lease(name)
        self._seconds = seconds
        self._me = uuid4().hex
        self._seen: _Held | None = None
        self._seen_at = 0.0

    async def beat(self) -> bool:
        """Renew or take the lease; return whether we hold it. Call more often than ``seconds``."""

        def decide(held: _Held | None) -> _Held | None:
            if held is None:
                return _Held(self._me, 0)
            if held.holder in (self._me, _NOBODY):
                return _Held(self._me, held.beat + 1)
            if held != self._seen:
                self._seen, self._seen_at = held, self._clock.monotonic()
            stale = self._clock.monotonic() - self._seen_at >= self._seconds
            return _Held(self._me, held.beat + 1) if stale else None

        now = await compare_and_set.update(self._store, self._key, _Held, decide)
        return now is not None and now.holder == self._me

    async def release(self) -> None:
        """Let the next one have it at once. A no-op where we do not hold it."""

        def decide(held: _Held | None) -> _Held | None:
            # By condition, not by deleting: whoever took it meanwhile, because we were slow, keeps it.
            return _Held(_NOBODY, held.beat + 1) if held and held.holder == self._me else None

        await compare_and_set.update(self._store, self._key, _Held, decide)
