"""A bucket in S3, or in a server that speaks its protocol and honours If-Match and If-None-Match on PutObject.

Keys stand in URIs as they are, as S3's own tools write them: nothing is percent-encoded. ETags are S3's, without the
quotes. Retrying a put after a lost answer is S3's client's business too, so the second try may find itself the loser.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioboto3
from aiobotocore.session import AioSession
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import create_loader

from handlers.errors import OutsideBucket, Unavailable
from handlers.ports.store import ObjectInfo, Stored
from worker.settings import SettingsError
from worker.storage import keys
from worker.storage.files import whole_file
from worker.storage.s3_answers import RangeBeyondEnd, translated
from worker.storage.s3_transfer import MIB, Transfer

#: What S3's client is made from is a megabyte of JSON: read once a process. The pool's make a client for every file.
_LOADER = create_loader()
#: Seconds without a byte of an answer after which a request is made again.
READ_SECONDS = 60.0


class S3Store:
    """An ObjectStore in S3, over one client that stays open. Never blocks the event loop."""

    def __init__(
        self, client: Any, bucket: str, prefix: str = "", *, part_bytes: int = 16 * MIB, copied_bytes: int = 256 * MIB
    ) -> None:
        """Use an open aioboto3 client. ``prefix`` is empty or ends with a slash.

        Files above ``part_bytes`` travel in parts of that size, objects above ``copied_bytes`` are copied in such.
        """
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._part_bytes = part_bytes
        self._copied_bytes = copied_bytes

    async def make_bucket(self) -> bool:
        """Make the bucket, in the client's region; return whether it had to be made. Safe among several who do."""
        if await self._bucket_is_there():
            return False
        region = self._client.meta.region_name
        # The oldest region is the one that may not be named.
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            with translated(f"bucket {self._bucket}"):
                await self._client.create_bucket(Bucket=self._bucket, **place)
        except Unavailable:
            if await self._bucket_is_there():
                return False  # somebody was first
            raise
        return True

    async def date(self) -> str | None:
        """Return what time it is where the bucket is, as HTTP says it; None where the server does not.

        A refusal says it too: a clock that is far off is why requests are refused. Raises Unavailable.
        """
        try:
            with translated(f"bucket {self._bucket}"):
                answer = await self._client.head_bucket(Bucket=self._bucket)
        except (FileNotFoundError, Unavailable) as error:
            answer = getattr(error.__cause__, "response", None)
            if answer is None:
                raise
        said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        return None if said is None else str(said)

    def uri(self, key: str) -> str:
        """Return the S3 URI of a key, or of a prefix with a slash at its end."""
        return f"s3://{self._bucket}/{self._prefix}{keys.check(key)}"

    def key(self, uri: str) -> str:
        """Return the key of an S3 URI, taken literally. OutsideBucket for one of another bucket or prefix."""
        root = f"s3://{self._bucket}/{self._prefix}"
        if not uri.startswith(root):
            raise OutsideBucket(f"{uri!r} does not lead into {root}")
        try:
            return keys.check(uri.removeprefix(root))
        except ValueError as error:
            raise OutsideBucket(f"{uri!r} does not lead into {root}: {error}") from error

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None."""
        named = self._named(key)
        if keys.is_prefix(key):
            return None
        try:
            with translated(key):
                answer = await self._head(named)
        except FileNotFoundError:
            return None
        return ObjectInfo(key, _bare(answer["ETag"]), int(answer["ContentLength"]))

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """Return an object, or a range of it: all from one version of it."""
        named = self._named(key)
        wanted = keys.check_range(byte_range)
        if keys.is_prefix(key):
            return None
        if if_match is not None:
            named["IfMatch"] = _quoted(if_match)
        try:
            with translated(key):
                if wanted is None:
                    return await self._read(named)
                if wanted[0] == wanted[1]:
                    return await self._nothing(named)
                return await self._read({**named, "Range": f"bytes={wanted[0]}-{wanted[1] - 1}"})
        except FileNotFoundError:
            return None
        except RangeBeyondEnd:
            # Behind the end is nothing; only what the object is remains to be asked.
            return await self.get(key, byte_range=(0, 0), if_match=if_match)

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        """Store an object. Of concurrent conditional puts exactly one succeeds."""
        keys.check_conditions(if_none_match, if_match)
        condition: dict[str, str] = {}
        if if_none_match:
            condition["IfNoneMatch"] = "*"
        elif if_match is not None:
            condition["IfMatch"] = _quoted(if_match)
        named = self._named(keys.check_object(key))
        with translated(key, conditional=bool(condition)):
            answer = await self._client.put_object(**named, Body=body, **condition)
        return _bare(answer["ETag"])

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield objects in key order. Left out is what no key can name, such as the folders that consoles make."""
        asked = {"Bucket": self._bucket, "Prefix": self._prefix + keys.check_listed(prefix)}
        while True:
            with translated(prefix):
                page = await self._client.list_objects_v2(**asked)
            for found in page.get("Contents", ()):
                key = str(found["Key"]).removeprefix(self._prefix)
                if keys.legal_object(key):
                    yield ObjectInfo(key, _bare(found["ETag"]), int(found["Size"]))
            if not page["IsTruncated"]:
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    async def copy(self, source: str, target: str) -> None:
        """Copy an object inside S3. Raises FileNotFoundError where there is none."""
        named = self._named(keys.check_object(target))
        info = await self._existing(source)
        original = self._prefix + source
        if source == target:
            return
        if info.size_bytes <= self._copied_bytes:
            with translated(source):
                await self._client.copy_object(**named, CopySource={"Bucket": self._bucket, "Key": original})
        else:
            await self._transfer(target, info.size_bytes, self._copied_bytes).copy_from(original, info.etag)

    async def delete(self, key: str) -> None:
        """Delete an object. Idempotent."""
        named = self._named(key)
        if not keys.is_prefix(key):
            with translated(key):
                await self._client.delete_object(**named)

    async def upload(self, key: str, path: Path) -> str:
        """Store a local file, in parts where it is large. Raises FileNotFoundError where it is missing."""
        keys.check_object(key)
        size = (await asyncio.to_thread(path.stat)).st_size
        if size <= self._part_bytes:
            return await self.put(key, await asyncio.to_thread(path.read_bytes))
        return _bare(await self._transfer(key, size, self._part_bytes).upload(path))

    async def download(self, key: str, path: Path) -> None:
        """Write an object into a local file: the whole of one version of it or, where this fails, nothing."""
        info = await self._existing(key)

        async def read(first: int, end: int) -> bytes | None:
            stored = await self.get(key, byte_range=(first, end), if_match=info.etag)
            return stored.body if stored else None

        with whole_file(path) as file:
            await self._transfer(key, info.size_bytes, self._part_bytes).download(read, Path(file.name))

    async def _existing(self, key: str) -> ObjectInfo:
        info = await self.head(key)
        if info is None:
            raise FileNotFoundError(f"no object {key}")
        return info

    async def _read(self, request: dict[str, str]) -> Stored:
        answer = await self._client.get_object(**request)
        async with answer["Body"] as stream:
            return Stored(await stream.read(), _bare(answer["ETag"]))

    async def _bucket_is_there(self) -> bool:
        try:
            with translated(f"bucket {self._bucket}"):
                await self._client.head_bucket(Bucket=self._bucket)
        except FileNotFoundError:
            return False
        return True

    async def _nothing(self, request: dict[str, str]) -> Stored:
        return Stored(b"", _bare((await self._head(request))["ETag"]))

    async def _head(self, request: dict[str, str]) -> Any:
        try:
            return await self._client.head_object(**request)
        except ClientError as error:
            missing = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404
            # An answer to HEAD has no body: a bucket that is not there looks like an object that is not.
            if missing and not await self._bucket_is_there():
                raise Unavailable(f"bucket {self._bucket} is not there") from error
            raise

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + keys.check(key)}

    def _transfer(self, key: str, size_bytes: int, part_bytes: int) -> Transfer:
        return Transfer(self._client, self._bucket, self._prefix + key, size_bytes, part_bytes)


@asynccontextmanager
async def open_s3(url: str, *, endpoint_url: str | None = None, connections: int = 64) -> AsyncIterator[S3Store]:
    """Open ``s3://bucket`` or ``s3://bucket/prefix``. Region, credentials and the rest are read as every AWS tool does.

    Raises:
        SettingsError: the URL names no bucket, or a prefix that no key can begin with.
    """
    bucket, prefix = _bucket_of(url)
    config = Config(
        connect_timeout=5,
        read_timeout=READ_SECONDS,
        max_pool_connections=connections,
        # Few tries inside: who asked goes on trying for as long as it takes, and says so.
        retries={"mode": "standard", "total_max_attempts": 3},
        # Other servers than AWS refuse the checksums that newer clients send unasked, or mistake them for content.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = AioSession()
    session.register_component("data_loader", _LOADER)
    async with aioboto3.Session(botocore_session=session).client(
        "s3", endpoint_url=endpoint_url, config=config
    ) as client:
        yield S3Store(client, bucket, prefix)


def _bucket_of(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.removesuffix("/")
    if "@" in bucket:
        # Not quoted: what stands before it may be a secret.
        raise SettingsError("WORKER_STORAGE_URL names a user: give s3://bucket, and credentials as AWS tools read them")
    try:
        legal = not prefix or len(keys.check_object(prefix).encode()) < keys.MAX_PREFIX_BYTES
    except ValueError as error:
        raise SettingsError(f"WORKER_STORAGE_URL cannot be used: {error}") from error
    if scheme.lower() != "s3" or not bucket or not legal:
        raise SettingsError(f"WORKER_STORAGE_URL is {url!r}: give s3://bucket or s3://bucket/prefix, under 128 bytes")
    return bucket, prefix and prefix + "/"


def _bare(etag: str) -> str:
    return etag.strip('"')


def _quoted(etag: str) -> str:
    return f'"{_bare(etag)}"'
