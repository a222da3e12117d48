"""How a model goes whose time is over: it is marked, that is said, and only then its files are deleted.

The mark is in its manifest and stays there. It comes before anybody looks who uses the model, and whoever begins to use
it can be seen (a task's marker, a ref) before he reads the manifest: of two that cross at least one sees the other. So
a model is marked only where nobody is seen, and where somebody is seen after all its files stay until he has gone.
Killed anywhere, this goes on from what is in the bucket.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.model import Expiry, Manifest, ModelExpired
from handlers import compare_and_set, layout
from handlers.manifests import MANIFEST
from handlers.outcome import FollowOn, complete
from handlers.ports.store import ObjectStore

STAGE = "model-retention"

_DAY = timedelta(days=1)


def expiry_of(exported_at: datetime, kept: timedelta, now: datetime) -> Expiry | None:
    """Return that a model's time is over, or None where it is not yet. Pure."""
    if now - exported_at < kept:
        return None
    return Expiry(at=now, exported_at=exported_at, retention_days=kept / _DAY)


async def mark(store: ObjectStore, model_id: str, expiry: Expiry) -> None:
    """Write into a model's manifest that its time is over: from now on nobody begins to use it.

    Idempotent: the first mark stands. Raises Transient where the manifest was changed by others again and again.
    """

    def marked(manifest: Manifest | None) -> Manifest | None:
        return replace(manifest, expiry=expiry) if manifest and manifest.expiry is None else None

    await compare_and_set.update(store, layout.model(model_id) + MANIFEST, Manifest, marked)


async def delete_files(
    store: ObjectStore, model_id: str, files: Sequence[str], say: Callable[[Sequence[Event[Any]]], Awaitable[None]]
) -> None:
    """Say that a marked model expired and, once that is acknowledged, delete its files; its manifest stays.

    Idempotent: said again it is the same event, to the byte, and what is deleted already is no error. A model without a
    mark is left alone. ``files`` are keys. Raises Unavailable, and what ``say`` raises.
    """
    manifest = await compare_and_set.read(store, layout.model(model_id) + MANIFEST, Manifest)
    if manifest is None or manifest.expiry is None:
        return
    await say([_expired(manifest, manifest.expiry, store)])
    for key in files:
        await store.delete(key)


def _expired(manifest: Manifest, expiry: Expiry, store: ObjectStore) -> Event[ModelExpired]:
    """Return a marked model's ``model.expired``. Everything in it follows from the manifest. Pure."""
    prefix = layout.model(manifest.model_id)
    body = ModelExpired(
        model_id=manifest.model_id,
        task_id=manifest.task_id,
        project=manifest.project,
        uri=store.uri(prefix),
        manifest_uri=store.uri(prefix + MANIFEST),
        size_bytes=sum(file.size for file in manifest.files),
        exported_at=expiry.exported_at,
        expired_at=expiry.at,
        retention_days=expiry.retention_days,
    )
    # There is no inbound event: the cause is the mark.
    cause: Event[None] = Event(
        topic=STAGE,
        key=manifest.task_id,
        id=f"{STAGE}/{manifest.model_id}",
        type=STAGE,
        source=STAGE,
        time=expiry.at,
        data=None,
        correlation_id=manifest.task_id,
    )
    follow_ons = (FollowOn("model.expired", manifest.task_id, body),)
    said = complete(follow_ons, cause=cause, stage=STAGE, version="-", business_key=manifest.model_id, now=expiry.at)
    return said[0]
