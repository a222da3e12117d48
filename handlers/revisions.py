"""Which estimate of a fee is the newest: they rise, and a later one supersedes all before."""

from msgspec import Struct

from handlers import compare_and_set
from handlers.ports import ObjectStore


class Newest(Struct, frozen=True, kw_only=True):
    """The newest estimate of a task's fee, or of a dataset's. ``exact_for``: the sampled quote that it is exact for."""

    revision: int
    quote_id: str
    exact_for: str | None = None


async def revised(store: ObjectStore, key: str, quote_id: str) -> int:
    """Make this quote the newest estimate and return its revision. Idempotent while no other is newer."""

    def newer(held: Newest | None) -> Newest | None:
        if held and held.quote_id == quote_id:
            return None
        return Newest(revision=held.revision + 1 if held else 1, quote_id=quote_id)

    newest = await compare_and_set.update(store, key, Newest, newer)
    assert newest is not None
    return newest.revision


async def made_exact(store: ObjectStore, key: str, sampled: str, exact: str) -> int | None:
    """Put the exact quote in the place of a sampled one and return its revision; None: another is the newest by now.

    Idempotent.
    """

    def newer(held: Newest | None) -> Newest | None:
        if held is None or held.quote_id == exact or sampled not in (held.quote_id, held.exact_for):
            return None
        return Newest(revision=held.revision + 1, quote_id=exact, exact_for=sampled)

    newest = await compare_and_set.update(store, key, Newest, newer)
    return newest.revision if newest and newest.quote_id == exact else None


async def is_newest(store: ObjectStore, key: str, sampled: str) -> bool:
    """Return whether a sampled quote, or the exact one of it, is the newest estimate."""
    newest = await compare_and_set.read(store, key, Newest)
    return newest is not None and sampled in (newest.quote_id, newest.exact_for)
