"""A bucket in memory, with the exact conditional semantics of the real ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path

from handlers.errors import OutsideBucket, PreconditionFailed, Unavailable
from handlers.ports.store import ObjectInfo, Stored

PutHook = Callable[[str, bytes], Awaitable[None]]


class MemoryStore:
    """An ObjectStore whose objects are a dict.

    Every method gives way to other tasks before it acts, and then acts at once: whoever relies on nothing
    happening between two calls is found out. ETags follow from the bytes, as S3's do: the same bytes again
    have the same ETag.

    For tests:
        objects: every object, by key. May be changed at will.
        puts: the keys of every put, copy and upload that took place, in order.
        available: set to False, every method raises Unavailable.
        before_put: awaited before a put is decided. Raising in it means: the put did not take place.
        after_put: awaited after a put took place. Raising in it means: its answer was lost.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.available = True
        self.before_put: PutHook | None = None
        self.after_put: PutHook | None = None

    ROOT = "memory://bucket/"

    def uri(self, key: str) -> str:
        return self.ROOT + _checked(key)

    def key(self, uri: str) -> str:
        key = uri.removeprefix(self.ROOT)
        if key == uri or not _legal(key):
            raise OutsideBucket(f"{uri!r} does not lead into {self.ROOT}")
        return key

    async def head(self, key: str) -> ObjectInfo | None:
        await self._arrive(key)
        body = self.objects.get(key)
        return None if body is None else ObjectInfo(key, etag_of(body), len(body))

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        await self._arrive(key)
        body = self.objects.get(key)
        if body is None:
            return None
        etag = etag_of(body)
        if if_match is not None and if_match != etag:
            raise PreconditionFailed(f"{key} has the ETag {etag}, not {if_match}")
        return Stored(body if byte_range is None else body[slice(*byte_range)], etag)

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        if if_none_match and if_match is not None:
            raise ValueError("if_none_match and if_match exclude each other")
        await self._arrive(key)
        if self.before_put is not None:
            await self.before_put(key, body)
        current = self.objects.get(key)
        if if_none_match and current is not None:
            raise PreconditionFailed(f"{key} exists")
        if if_match is not None and (current is None or etag_of(current) != if_match):
            raise PreconditionFailed(f"{key} is not {if_match} any more")
        self.objects[key] = bytes(body)
        self.puts.append(key)
        if self.after_put is not None:
            await self.after_put(key, body)
        return etag_of(body)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        await self._arrive("")
        for key in sorted(self.objects):
            # Looked up again: between two yields an object may have gone.
            body = self.objects.get(key)
            if key.startswith(prefix) and body is not None:
                yield ObjectInfo(key, etag_of(body), len(body))

    async def copy(self, source: str, target: str) -> None:
        await self._arrive(source)
        _checked(target)
        if source not in self.objects:
            raise FileNotFoundError(source)
        self.objects[target] = self.objects[source]
        self.puts.append(target)

    async def delete(self, key: str) -> None:
        await self._arrive(key)
        self.objects.pop(key, None)

    async def upload(self, key: str, path: Path) -> str:
        return await self.put(key, await asyncio.to_thread(path.read_bytes))

    async def download(self, key: str, path: Path) -> None:
        await self._arrive(key)
        if key not in self.objects:
            raise FileNotFoundError(key)
        await asyncio.to_thread(path.write_bytes, self.objects[key])

    async def _arrive(self, key: str) -> None:
        if key:
            _checked(key)
        await asyncio.sleep(0)
        if not self.available:
            raise Unavailable("the bucket does not answer")


def etag_of(body: bytes) -> str:
    """Return the ETag that these bytes have in a MemoryStore."""
    return sha256(body).hexdigest()[:32]


def _legal(key: str) -> bool:
    return bool(key) and all(part not in ("", ".", "..") for part in key.removesuffix("/").split("/"))


def _checked(key: str) -> str:
    if not _legal(key):
        raise ValueError(f"not a key: {key!r}")
    return key
