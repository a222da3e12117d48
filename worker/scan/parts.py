"""Scanning a part of a file: what a process does with the bytes it is given, wherever they are from.

A part is a range of bytes; the lines that begin in it are its own. What the whole file is read as was decided by its
beginning.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from contracts.dataset import DeclaredFormat
from contracts.datasets.findings import Finding
from handlers.validation.line_digests import DIGEST_BYTES, LineDigests
from handlers.validation.opening import Decision
from handlers.validation.parts import joined, moved, shifts
from handlers.validation.report import CAP, Capped
from handlers.validation.scan import FileResult, Scan

#: Smaller parts are not worth a process of their own.
PART_BYTES = 64 << 20


class Part(Struct, frozen=True, kw_only=True):
    """Which part of which file, and where what was found goes. ``end`` is None for the whole file; it is excluded.

    ``findings_path`` gets the findings as NDJSON, ``digests_path`` what copies of lines are found by: lines in both are
    counted from the beginning of the part.
    """

    file: int
    format: DeclaredFormat
    findings_path: str
    digests_path: str
    first: int = 0
    end: int | None = None
    decision: Decision | None = None
    cap: int = CAP


class ScannedPart(Struct, frozen=True, kw_only=True):
    """What a scan of a part counted, and the first findings of each code."""

    part: Part
    result: FileResult
    findings: tuple[Finding, ...]


class PartScan:
    """The scan of one part. Use it as a context manager; feed it from ``reads_from`` on until it is ``done``."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._files = ExitStack()
        self._at = self.reads_from = max(0, part.first - 1)
        self._begun = part.first == 0
        self.done = False

    def __enter__(self) -> Self:
        part, encode = self._part, msgspec.json.Encoder().encode
        findings = self._files.enter_context(Path(part.findings_path).open("wb"))
        digests = self._files.enter_context(Path(part.digests_path).open("wb"))
        self._capped = Capped(part.cap)

        def report(finding: Finding) -> None:
            findings.write(encode(finding) + b"\n")
            self._capped.add(finding)

        self._scan = Scan(part.format, report, file=part.file, digests=LineDigests(digests), decision=part.decision)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._files.close()

    @property
    def decision(self) -> Decision | None:
        """Return what the beginning of the file said, once it did."""
        return self._scan.decision

    def feed(self, chunk: bytes | bytearray) -> None:
        """Scan the next bytes: what belongs to other parts is left out."""
        start, end, base = 0, len(chunk), self._at
        self._at += end
        if not self._begun:
            # The byte before the part: where it is an LF, a line begins with the part.
            start = chunk.find(b"\n") + 1
            self._begun = start > 0
            if not self._begun:
                self.done = self._part.end is not None and self._at >= self._part.end
                return
        if self._part.end is not None and self._at >= self._part.end:
            last = chunk.find(b"\n", max(start - 1, self._part.end - 1 - base, 0)) + 1
            self.done = last > 0
            end = last or end
        if start < end:
            self._scan.feed(chunk[start:end] if end - start < len(chunk) else chunk)

    def finish(self) -> ScannedPart:
        """Return what was found. Call it once, after the last bytes."""
        return ScannedPart(part=self._part, result=self._scan.finish(), findings=self._capped.findings())


def split(part: Part, size_bytes: int, decision: Decision, most: int) -> list[Part]:
    """Return parts of about the same size, at most so many and none that is too small."""
    count = max(1, min(most, size_bytes // PART_BYTES))
    cuts = [size_bytes * index // count for index in range(count + 1)]
    return [
        msgspec.structs.replace(
            part,
            first=first,
            end=end if end < size_bytes else None,
            decision=decision if first else None,
            findings_path=f"{part.findings_path}.{index}",
            digests_path=f"{part.digests_path}.{index}",
        )
        for index, (first, end) in enumerate(pairwise(cuts))
    ]


def as_one(scanned: Sequence[ScannedPart]) -> tuple[FileResult, tuple[Finding, ...]]:
    """Return the counts of a file, and the first findings of each code, from its parts in order."""
    results = [each.result for each in scanned]
    capped = Capped(scanned[0].part.cap)
    for each, shift in zip(scanned, shifts(results), strict=True):
        for finding in moved(each.findings, shift):
            capped.add(finding)
    return joined(results), capped.findings()


def all_findings(scanned: Sequence[ScannedPart]) -> Iterator[bytes]:
    """Yield every finding of a file as a line of NDJSON, from what its parts wrote."""
    encode, decoder = msgspec.json.Encoder().encode, msgspec.json.Decoder(Finding)
    for each, shift in zip(scanned, shifts([each.result for each in scanned]), strict=True):
        with Path(each.part.findings_path).open("rb") as findings:
            if not shift.lines_before and not shift.said:
                yield from findings
                continue
            for line in findings:
                found = shift.of(decoder.decode(line))
                if found is not None:
                    yield encode(found) + b"\n"


def join_digests(scanned: Sequence[ScannedPart], path: Path) -> Path:
    """Return one file with the digests of all lines; of a whole file its own, else ``path``, which is written."""
    if len(scanned) == 1:
        return Path(scanned[0].part.digests_path)
    with path.open("wb") as whole:
        for each, shift in zip(scanned, shifts([each.result for each in scanned]), strict=True):
            whole.seek(shift.lines_before * DIGEST_BYTES)
            with Path(each.part.digests_path).open("rb") as part:
                while block := part.read(1 << 20):
                    whole.write(block)
    return path
