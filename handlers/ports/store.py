"""The bucket, as handlers need it. The adapters pass tests/conformance."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Protocol


class ObjectInfo(NamedTuple):
    """An object as a listing shows it. ``etag`` is opaque: equal ETags mean equal bytes."""

    key: str
    etag: str
    size_bytes: int


class Stored(NamedTuple):
    """An object's bytes and the ETag they had."""

    body: bytes
    etag: str


class ObjectStore(Protocol):
    """A bucket, strongly consistent, with conditional puts. Keys are relative, ``/``-separated, never with ``..``.

    Every method may raise :class:`handlers.errors.Unavailable`. A put is all or nothing: a reader sees the old object
    or the new one. Of concurrent conditional puts on one key exactly one succeeds. A put whose answer was lost may
    have happened: it is then reported as lost (PreconditionFailed) on retry, so callers compare a nonce of theirs.
    """

    def uri(self, key: str) -> str:
        """Return the absolute URI of a key."""
        ...

    def key(self, uri: str) -> str:
        """Return the key of a URI in this bucket. Raises OutsideBucket for any other URI, traversal included."""
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None where there is none."""
        ...

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or None. ``byte_range`` is (first, end), end excluded, cut at the object's size.

        Raises PreconditionFailed where ``if_match`` is given and the object has another ETag.
        """
        ...

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        """Store an object and return its ETag.

        Raises PreconditionFailed where ``if_none_match`` is set and the object exists, or ``if_match`` is given and
        the object is missing or has another ETag.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key begins with ``prefix``, in key order."""
        ...

    async def copy(self, source: str, target: str) -> None:
        """Copy inside the bucket, server-side: the bytes never pass through this process. Overwrites.

        Raises FileNotFoundError where there is no source.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete an object. Deleting a missing one is not an error."""
        ...

    async def upload(self, key: str, path: Path) -> str:
        """Store a local file, of any size, without holding it in memory; return its ETag."""
        ...

    async def download(self, key: str, path: Path) -> None:
        """Write an object into a local file, of any size. Raises FileNotFoundError where there is none."""
        ...
