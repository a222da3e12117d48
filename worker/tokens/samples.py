"""Reading the valid samples of a dataset, in order, in bounded memory. Shared by the counter and the trainer."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from contracts.dataset import CheckedFile
from contracts.datasets.findings import FILE_ERRORS
from handlers.ports.store import ObjectStore
from handlers.validation.lines import MAX_LINE_BYTES, Line, LineSplitter
from worker.tokens.line_set import LineSet

#: Bytes fetched at a time.
CHUNK_BYTES = 4 << 20


class UnreadableSample(ValueError):
    """A line that the findings call valid and that cannot be read: the findings are of other bytes."""


class Sample(NamedTuple):
    """One valid sample: the index of its file, its 1-based line, the decoded object, and the bytes of the line."""

    file: int
    line: int
    data: dict[str, Any]
    size: int = 0


class PassedOver(Protocol):
    """Which lines of a file are not read as samples. It is asked about each line once, in rising order."""

    @property
    def whole_file(self) -> bool:
        """Return whether none of its lines is."""
        ...

    def __contains__(self, line: int) -> bool: ...


class LeftOut:
    """The lines of one file that are not samples to train on, since they have an error; or all of its lines.

    Takes a bit of memory for each line up to the last that has an error, however many have.
    """

    def __init__(self) -> None:
        self.whole_file = False
        self._lines = LineSet()

    def add(self, line: int, code: str, severity: str) -> None:
        """Take a finding into account."""
        if severity == "error":
            self.whole_file = self.whole_file or code in FILE_ERRORS
            self._lines.add(line)

    def __contains__(self, line: int) -> bool:
        return self.whole_file or line in self._lines

    def key(self) -> str | tuple[()]:
        """Return what tells this from any other; of no lines what is false."""
        return "every line" if self.whole_file else self._lines.digest() or ()

    def lines(self) -> Iterator[int]:
        """Yield the lines that have an error, rising; of a file that is wrong as a whole those that were named."""
        return iter(self._lines)


#: What is left out, by the index of the file.
InvalidLines = dict[int, LeftOut]


class _Located(Struct):
    line: int
    severity: str
    code: str
    file: int = 0


_FINDING = msgspec.json.Decoder(_Located)


async def invalid_lines(store: ObjectStore, findings_key: str | None, only: int | None = None) -> InvalidLines:
    """Return the lines that have an error, by file; of file ``only`` alone where that is given. Without a key, none.

    Raises:
        FileNotFoundError: the findings are gone.
    """
    invalid: InvalidLines = {}
    if findings_key is None:
        return invalid
    info = await store.head(findings_key)
    if info is None:
        raise FileNotFoundError(findings_key)
    async for line in _lines(store, findings_key, info.etag, info.size_bytes):
        if line.body:
            finding = _FINDING.decode(line.body)
            if only is not None and finding.file != only:
                continue
            invalid.setdefault(finding.file, LeftOut()).add(finding.line, finding.code, finding.severity)
    return invalid


async def read_samples(
    store: ObjectStore, files: Sequence[CheckedFile], invalid: Mapping[int, PassedOver], only: int | None = None
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
        skipped = invalid.get(index, LeftOut())
        if skipped.whole_file:
            continue
        async for line in _lines(store, store.key(file.uri), file.etag, file.size_bytes):
            if line.number not in skipped and (sample := sample_of(line, index, file.uri)):
                yield sample


def sample_of(line: Line, file: int, name: str) -> Sample | None:
    """Return the sample in a valid line, or None where it is blank. Raises UnreadableSample."""
    if line.body is None:
        raise UnreadableSample(f"{name}, line {line.number}: longer than {MAX_LINE_BYTES} bytes")
    body = line.body.strip()
    if not body:
        return None
    try:
        return Sample(file, line.number, msgspec.json.decode(body, type=dict[str, Any]), len(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableSample(f"{name}, line {line.number}: {error}") from error


async def _lines(store: ObjectStore, key: str, etag: str, size: int) -> AsyncIterator[Line]:
    """Yield the lines of an object, numbered as the scan numbers them."""
    splitter = LineSplitter(MAX_LINE_BYTES)
    for start in range(0, size, CHUNK_BYTES):
        part = await store.get(key, byte_range=(start, min(start + CHUNK_BYTES, size)), if_match=etag)
        if part is None:
            raise FileNotFoundError(key)
        for line in splitter.feed(part.body):
            yield line
    for line in splitter.finish():
        yield line
