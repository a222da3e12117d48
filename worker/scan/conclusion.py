"""From scanned files to the report on the dataset: what only shows when all of them were read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from contracts.dataset import CheckedFile, DeclaredFormat
from handlers.validation.conclusion import (
    Conclusion,
    Copies,
    ScannedFile,
    conclude,
    copy_finding,
    not_compared,
)
from handlers.validation.copies import find_copies
from handlers.validation.report import CAP, Capped
from worker.scan.parts import ScannedPart, all_findings, as_one, join_digests


class FileScan(Struct, frozen=True, kw_only=True):
    """One file as it was read, and what the scans of its parts found, in order."""

    checked: CheckedFile
    parts: tuple[ScannedPart, ...]


class Concluded(NamedTuple):
    """The report, and where every finding on the dataset is read from."""

    conclusion: Conclusion
    files: Sequence[FileScan]
    copies: Path

    def findings(self) -> Iterator[bytes]:
        """Yield every finding as a line of NDJSON. The files that the scans wrote must still be there."""
        for index, file in enumerate(self.files):
            if index not in self.conclusion.replaced:
                yield from all_findings(file.parts)
        encode = msgspec.json.Encoder().encode
        for finding in self.conclusion.added:
            yield encode(finding) + b"\n"
        with self.copies.open("rb") as copies:
            yield from copies


def concluded(
    digest: str, format: DeclaredFormat, files: Sequence[FileScan], directory: Path, *, cap: int = CAP
) -> Concluded:
    """Return the report on the files. Writes into ``directory``, which must outlive the result. Blocks.

    Raises OSError where the disk is full.
    """
    scanned = [_scanned(file) for file in files]
    path = directory / "copies.ndjson"
    copies = _copies(files, not_compared(format, scanned), directory, path, cap)
    return Concluded(conclude(digest, format, scanned, copies, cap=cap), files, path)


def _scanned(file: FileScan) -> ScannedFile:
    result, findings = as_one(file.parts)
    return ScannedFile(checked=file.checked, result=result, findings=findings)


def _copies(files: Sequence[FileScan], skipped: frozenset[int], directory: Path, path: Path, cap: int) -> Copies:
    """Find every line that is the same as an earlier one; all findings on them go to ``path``."""
    spools = [join_digests(file.parts, directory / f"{index}.digests") for index, file in enumerate(files)]
    encode, capped, total = msgspec.json.Encoder().encode, Capped(cap), 0
    with path.open("wb") as every:
        for copy in find_copies(spools, skip_files=skipped):
            finding = copy_finding(copy.line, copy.file, copy.first_line, copy.first_file)
            every.write(encode(finding) + b"\n")
            capped.add(finding)
            total += 1
    return Copies(total=total, findings=capped.findings())
