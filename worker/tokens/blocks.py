"""Blocks of a file as a random sample of its lines: a line belongs to the block that its first byte is in."""

import random
from collections.abc import Iterator
from typing import NamedTuple

from contracts.dataset import CheckedFile
from handlers.ports.store import ObjectStore
from handlers.validation.lines import LineSplitter
from worker.tokens.samples import Sample, sample_of


class Block(NamedTuple):
    """The whole lines that begin in one block, endings and blank lines included."""

    body: bytes

    @property
    def size(self) -> int:
        """Return its bytes: over all blocks of a file they add up to the file's."""
        return len(self.body)

    def samples(self, name: str) -> Iterator[Sample]:
        """Yield its samples; their line numbers count from the block's beginning. Raises UnreadableSample."""
        splitter = LineSplitter()
        for lines in (splitter.feed(self.body), splitter.finish()):
            for line in lines:
                if sample := sample_of(line, 0, name):
                    yield sample


def drawn(file: CheckedFile, block_bytes: int, count: int) -> list[int]:
    """Return the numbers of the blocks that are drawn of a file, at most all of them: for the same bytes the same."""
    blocks = blocks_of(file, block_bytes)
    return sorted(random.Random(file.sha256).sample(range(blocks), min(count, blocks)))  # noqa: S311 - a draw, no secret


def blocks_of(file: CheckedFile, block_bytes: int) -> int:
    """Return how many blocks a file has."""
    return -(-file.size_bytes // block_bytes)


async def read_block(store: ObjectStore, file: CheckedFile, block_bytes: int, number: int) -> Block:
    """Return a block, by one read unless its last line is a long one.

    Raises FileNotFoundError and PreconditionFailed where the file is gone or has changed.
    """
    key = store.key(file.uri)
    start = number * block_bytes
    end = min(start + block_bytes, file.size_bytes)
    # One byte before it: whether a line ends there says whether the block begins with one.
    first = max(start - 1, 0)
    held = bytearray(await _read(store, key, file, first, end + block_bytes))
    begin = held.find(b"\n") + 1 if start else 0
    if (start and not begin) or first + begin >= end:
        return Block(b"")
    while (stop := held.find(b"\n", end - 1 - first) + 1) == 0 and first + len(held) < file.size_bytes:
        held += await _read(store, key, file, first + len(held), first + 2 * len(held))
    return Block(bytes(held[begin : stop or len(held)]))


async def _read(store: ObjectStore, key: str, file: CheckedFile, start: int, end: int) -> bytes:
    part = await store.get(key, byte_range=(start, min(end, file.size_bytes)), if_match=file.etag)
    if part is None:
        raise FileNotFoundError(key)
    return part.body
