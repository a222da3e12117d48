"""Large objects in S3, part by part: a few parts are in memory at a time, never a whole object."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.errors import PreconditionFailed, Unavailable
from worker.storage.s3_answers import translated

MIB = 1024 * 1024
#: S3 takes no more parts, and none under 5 MiB but the last.
_MOST_PARTS = 10_000
_AT_A_TIME = 4

#: Sends part ``number``, the bytes from ``first`` up to ``end``; returns the part's ETag.
SendPart = Callable[[str, int, int, int], Awaitable[str]]
#: Reads the bytes from ``first`` up to ``end``, or None where the object has gone.
ReadPart = Callable[[int, int], Awaitable[bytes | None]]


@dataclass(frozen=True)
class Transfer:
    """Moves one object in parts. ``client`` is an aioboto3 S3 client; ``name`` the key with the bucket's prefix."""

    client: Any
    bucket: str
    name: str
    size_bytes: int
    part_bytes: int

    async def upload(self, path: Path) -> str:
        """Store a local file; return the object's ETag. Nothing is left of it where this fails."""

        async def send(upload_id: str, number: int, first: int, end: int) -> str:
            body = await asyncio.to_thread(_read, path, first, end)
            answer = await self.client.upload_part(
                Bucket=self.bucket, Key=self.name, UploadId=upload_id, PartNumber=number, Body=body
            )
            return str(answer["ETag"])

        return await self._assemble(send)

    async def copy_from(self, source: str, etag: str) -> None:
        """Make the object a copy of another one in the bucket, server-side. Raises Unavailable where that changes."""

        async def send(upload_id: str, number: int, first: int, end: int) -> str:
            answer = await self.client.upload_part_copy(
                Bucket=self.bucket, Key=self.name, UploadId=upload_id, PartNumber=number,
                CopySource={"Bucket": self.bucket, "Key": source}, CopySourceIfMatch=f'"{etag}"',
                CopySourceRange=f"bytes={first}-{end - 1}",
            )  # fmt: skip
            return str(answer["CopyPartResult"]["ETag"])

        await self._assemble(send)

    async def download(self, read: ReadPart, path: Path) -> None:
        """Fill a file that exists. Raises FileNotFoundError, or Unavailable where the object changes meanwhile."""

        async def fetch(part: tuple[int, int, int]) -> None:
            _, first, end = part
            try:
                body = await read(first, end)
            except PreconditionFailed as error:
                raise Unavailable(f"{self.name} was replaced while it was read") from error
            if body is None:
                raise FileNotFoundError(f"no object {self.name}")
            await asyncio.to_thread(_write, path, body, first)

        await _each(self._parts(), fetch)

    async def _assemble(self, send: SendPart) -> str:
        named = {"Bucket": self.bucket, "Key": self.name}
        with translated(self.name):
            upload_id = (await self.client.create_multipart_upload(**named))["UploadId"]
        sent: dict[int, str] = {}

        async def part(numbered: tuple[int, int, int]) -> None:
            try:
                with translated(self.name):
                    sent[numbered[0]] = await send(upload_id, *numbered)
            except PreconditionFailed as error:
                raise Unavailable(f"{self.name}: what is copied was replaced meanwhile") from error

        try:
            await _each(self._parts(), part)
            parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(sent.items())]
            with translated(self.name):
                answer = await self.client.complete_multipart_upload(
                    **named, UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            # What is left of it is invisible but paid for. The reason of the failure matters more than this one's.
            with suppress(Unavailable, FileNotFoundError), translated(self.name):
                await self.client.abort_multipart_upload(**named, UploadId=upload_id)
            raise
        return str(answer["ETag"])

    def _parts(self) -> Iterable[tuple[int, int, int]]:
        step = max(self.part_bytes, -(-self.size_bytes // _MOST_PARTS))
        for number, first in enumerate(range(0, self.size_bytes, step), start=1):
            yield number, first, min(first + step, self.size_bytes)


async def _each(parts: Iterable[tuple[int, int, int]], work: Callable[[tuple[int, int, int]], Awaitable[None]]) -> None:
    """Do the work for every part, a few at a time. The first failure ends the others and is raised."""
    remaining = iter(parts)

    async def worker() -> None:
        for part in remaining:
            await work(part)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_A_TIME):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


# A thread goes on where its task is cancelled: each opens the file anew, so that none writes to a descriptor that was
# closed meanwhile and is another file's now.


def _read(path: Path, first: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(first)
        return file.read(end - first)


def _write(path: Path, body: bytes, first: int) -> None:
    with path.open("r+b") as file:
        file.seek(first)
        file.write(body)
