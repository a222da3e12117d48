"""Reading the valid samples of a dataset, in order, in bounded memory. Shared by the counter and the trainer."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from contracts.dataset import CheckedFile
from handlers.ports import ObjectStore

#: Bytes fetched at a time.
CHUNK_BYTES = 4 << 20
#: Bytes of a line; the scan reports longer ones.
LONGEST_LINE_BYTES = 16 << 20

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Invalid lines by file index.
InvalidLines = dict[int, set[int]]


class UnreadableSample(ValueError):
    """A line that the findings call valid and that cannot be read: the findings are of other bytes."""


class Sample(NamedTuple):
    """One valid sample: the index of its file, its 1-based line, and the decoded object."""

    file: int
    line: int
    data: dict[str, Any]


class _Located(Struct):
    line: int
    severity: str
    file: int = 0


_FINDING = msgspec.json.Decoder(_Located)


async def invalid_lines(store: ObjectStore, findings_key: str | None) -> InvalidLines:
    """Return the lines that have an error, by file. Without a key, none.

    Raises:
        FileNotFoundError: the findings are gone.
    """
    invalid: InvalidLines = {}
    if findings_key is None:
        return invalid
    info = await store.head(findings_key)
    if info is None:
        raise FileNotFoundError(findings_key)
    async for _, line in _lines(store, findings_key, info.etag, info.size_bytes, lambda _: False):
        finding = _FINDING.decode(line)
        if finding.severity == "error":
            invalid.setdefault(finding.file, set()).add(finding.line)
    return invalid


async def read_samples(
    store: ObjectStore, files: Sequence[CheckedFile], invalid: InvalidLines, only: int | None = None
) -> AsyncIterator[Sample]:
    """Yield the valid samples of the files in order; of file ``only`` alone where that is given.

    Blank lines are no samples. The bytes are those that were validated: reads are pinned to the files' ETags.

    Raises:
        FileNotFoundError: a file is gone.
        PreconditionFailed: a file has changed since it was validated.
        UnreadableSample: a line without an error is not a JSON object after all.
    """
    for index, file in enumerate(files):
        if only is not None and index != only:
            continue
        skipped = invalid.get(index, set())
        async for line, raw in _lines(store, store.key(file.uri), file.etag, file.size_bytes, skipped.__contains__):
            yield Sample(index, line, _decoded(raw, file.uri, line))


def _decoded(raw: bytes, uri: str, line: int) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableSample(f"{uri}, line {line}: {error}") from error


async def _lines(
    store: ObjectStore, key: str, etag: str, size: int, skip: Callable[[int], bool]
) -> AsyncIterator[tuple[int, bytes]]:
    """Yield (number, text) of the lines that are not blank and not skipped. What is skipped is not held in memory."""
    number, pending = 1, bytearray()
    for start in range(0, size, CHUNK_BYTES):
        part = await store.get(key, byte_range=(start, min(start + CHUNK_BYTES, size)), if_match=etag)
        if part is None:
            raise FileNotFoundError(key)
        body = part.body.removeprefix(_BYTE_ORDER_MARK) if start == 0 else part.body
        *ended, rest = body.split(b"\n")
        for piece in ended:
            if not skip(number) and (line := bytes(pending + piece).strip()):
                yield number, line
            pending.clear()
            number += 1
        if not skip(number):
            pending += rest
        if len(pending) > LONGEST_LINE_BYTES:
            raise UnreadableSample(f"{key}, line {number}: longer than {LONGEST_LINE_BYTES} bytes")
    if pending.strip():
        yield number, bytes(pending).strip()
