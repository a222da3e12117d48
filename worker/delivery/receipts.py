"""Receipts: what a stage decided, and the events it said, under a name that the cause determines."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Raw, Struct

from contracts.codec import encode_body
from contracts.envelope import Event
from handlers import layout
from handlers.errors import PreconditionFailed, Transient
from handlers.outcome import Decision, Outcome, complete
from handlers.ports.clock import Clock
from handlers.ports.store import ObjectStore
from worker.metrics.counts import Counts
from worker.traces.current import note_receipt

UNVERSIONED = "-"


class Receipt(Struct, frozen=True, kw_only=True):
    """A recorded outcome. ``events`` hold their bodies as bytes, so that they are said to the byte the same."""

    stage: str
    version: str
    business_key: str
    outcome: str
    events: tuple[Event[Raw], ...]
    caused_by: str
    recorded_at: datetime
    nonce: str


class BucketReceipts:
    """Receipts in the bucket, made unique by If-None-Match. Safe under any number of processes."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        versions: Mapping[str, int],
        *,
        newest_only: bool = False,
        counts: Counts | None = None,
    ) -> None:
        """``newest_only``: a result of an older version of a stage is as good as none, so the stage computes anew."""
        self._store = store
        self._clock = clock
        self._versions = versions
        self._newest_only = newest_only
        self._counts = counts or Counts()

    async def once(
        self, stage: str, business_key: str, cause: Event[Any], work: Callable[[], Awaitable[Decision]]
    ) -> Outcome:
        """Return the recorded outcome of this work; where there is none, do the work and record it first."""
        counts = self._counts.stage(stage).receipts
        if found := await self.recorded(stage, business_key):
            counts["found"] += 1
            return found
        decision = await work()
        version = self._names(stage)[0]
        said = complete(
            decision.follow_ons, cause=cause, stage=stage, version=version, business_key=business_key,
            now=self._clock.now(),
        )  # fmt: skip
        receipt = Receipt(
            stage=stage,
            version=version,
            business_key=business_key,
            outcome=decision.name,
            events=tuple(_frozen(event) for event in said),
            caused_by=cause.id,
            recorded_at=self._clock.now(),
            nonce=uuid4().hex,
        )
        key = layout.receipt(stage, version, business_key)
        try:
            await self._store.put(key, msgspec.json.encode(receipt), if_none_match=True)
        except PreconditionFailed:
            # Somebody was first, or the answer to our own put was lost: either way the recorded one is said.
            recorded = await self.recorded(stage, business_key)
            if recorded is None:
                raise Transient(f"the receipt {key} is being put by another") from None
            counts["lost"] += 1
            note_receipt("lost")
            return recorded
        counts["made"] += 1
        note_receipt("made")
        return _outcome(receipt)

    async def recorded(self, stage: str, business_key: str) -> Outcome | None:
        """Return the outcome recorded under the newest version of the stage that has one, or None."""
        for version in self._names(stage):
            stored = await self._store.get(layout.receipt(stage, version, business_key))
            if stored:
                note_receipt("found")
                return _outcome(msgspec.json.decode(stored.body, type=Receipt))
        return None

    def _names(self, stage: str) -> list[str]:
        newest = self._versions[stage]
        oldest = newest if self._newest_only else 1
        return [str(version) for version in range(newest, oldest - 1, -1) if version] or [UNVERSIONED]


def _frozen(event: Event[Any]) -> Event[Raw]:
    return msgspec.structs.replace(event, data=Raw(encode_body(event.data)))


def _outcome(receipt: Receipt) -> Outcome:
    return Outcome(name=receipt.outcome, events=receipt.events)
