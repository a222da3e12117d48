"""Which estimate of a fee is the newest: they rise, and a later one supersedes all before.

Which import is later is said by the imports themselves, never by who is done first.
"""

from datetime import datetime
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from handlers import compare_and_set
from handlers.ports.store import ObjectStore


class Came(NamedTuple):
    """Which import an estimate answers: they are in the order of their times, and at one instant of their drafts."""

    imported_at: datetime
    draft: str


class Made(NamedTuple):
    """An estimate that was made: its quote, whether that is complete, and the digest of all that was asked."""

    quote_id: str
    complete: bool
    asked: str


class Newest(Struct, frozen=True, kw_only=True):
    """The newest estimate of a task's fee, or of a dataset's, and the newest import that it answers.

    ``revision`` rises with the quote, ``asking`` with what was asked: what was asked before, and is asked again after
    something else, is asked anew. ``exact_for`` is the sampled quote that it is exact for.
    """

    revision: int
    quote_id: str
    complete: bool
    asking: int
    asked: str
    imported_at: datetime
    draft: str
    exact_for: str | None = None

    @property
    def came(self) -> Came:
        """Return the import that it answers."""
        return Came(self.imported_at, self.draft)

    def after(self, made: Made) -> "Newest":
        """Return what is the newest once this one is made, whoever asked."""
        other = made.quote_id != self.quote_id
        return replace(
            self,
            revision=self.revision + other,
            quote_id=made.quote_id,
            complete=made.complete,
            asking=self.asking + (made.asked != self.asked),
            asked=made.asked,
            exact_for=None if other else self.exact_for,
        )


async def newest(store: ObjectStore, key: str) -> Newest | None:
    """Return the newest estimate, or None before the first."""
    return await compare_and_set.read(store, key, Newest)


async def revised(store: ObjectStore, key: str, came: Came, made: Made) -> Newest | None:
    """Make this the newest estimate and return it; None: one for a newer import is, however slow this one was.

    Idempotent.
    """
    first = Newest(
        revision=1,
        quote_id=made.quote_id,
        complete=made.complete,
        asking=1,
        asked=made.asked,
        imported_at=came.imported_at,
        draft=came.draft,
    )

    def newer(held: Newest | None) -> Newest | None:
        if held and held.came > came:
            return None
        new = replace(held.after(made), imported_at=came.imported_at, draft=came.draft) if held else first
        return None if new == held else new

    found = await compare_and_set.update(store, key, Newest, newer)
    return found if found and found.came == came else None


async def made_exact(store: ObjectStore, key: str, sampled: str, made: Made) -> Newest | None:
    """Put the exact quote in the place of a sampled one and return it; None: another is the newest by now.

    Idempotent.
    """

    def newer(held: Newest | None) -> Newest | None:
        if held is None or sampled not in (held.quote_id, held.exact_for):
            return None
        new = replace(held.after(made), exact_for=sampled)
        return None if new == held else new

    found = await compare_and_set.update(store, key, Newest, newer)
    return found if found and (found.quote_id, found.exact_for) == (made.quote_id, sampled) else None
