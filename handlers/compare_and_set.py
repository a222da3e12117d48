"""Changing one JSON object that others change too: read, decide, put if it is still what was read."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from handlers.errors import PreconditionFailed, Transient
from handlers.ports.store import ObjectStore

Value = TypeVar("Value", bound=Struct)

_TRIES = 50


async def read(store: ObjectStore, key: str, kind: type[Value]) -> Value | None:
    """Return the object under a key, decoded, or None."""
    stored = await store.get(key)
    return msgspec.json.decode(stored.body, type=kind) if stored else None


async def update(
    store: ObjectStore, key: str, kind: type[Value], decide: Callable[[Value | None], Value | None]
) -> Value | None:
    """Change an object and return it as it is afterwards; ``decide`` returns None to leave it as it is.

    ``decide`` is pure and is called again whenever somebody else was first. Where the answer to a put was lost, the
    put is recognised by its bytes: put a nonce into the value if equal bytes of two writers would not mean the same.

    Raises:
        Transient: others changed it each time we tried.
    """
    for _ in range(_TRIES):
        stored = await store.get(key)
        before = msgspec.json.decode(stored.body, type=kind) if stored else None
        after = decide(before)
        if after is None:
            return before
        body = msgspec.json.encode(after, order="deterministic")
        try:
            if stored:
                await store.put(key, body, if_match=stored.etag)
            else:
                await store.put(key, body, if_none_match=True)
        except PreconditionFailed:
            now = await store.get(key)
            if now is None or now.body != body:
                continue
        return after
    raise Transient(f"{key} was changed by others {_TRIES} times in a row")


async def first(store: ObjectStore, key: str, value: Value) -> Value:
    """Store a value unless there is one already; return the one that was first. Idempotent."""
    body = msgspec.json.encode(value, order="deterministic")
    held = await first_bytes(store, key, body)
    return value if held == body else msgspec.json.decode(held, type=type(value))


async def first_bytes(store: ObjectStore, key: str, body: bytes) -> bytes:
    """Store an object unless there is one already; return the bytes that were first. Idempotent."""
    try:
        await store.put(key, body, if_none_match=True)
    except PreconditionFailed:
        held = await store.get(key)
        if held is None:
            raise Transient(f"{key} was there and is not any more") from None
        return held.body
    return body
