"""Checking the files of one dataset: one pass, in memory that does not grow with them."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.dataset import CheckedFile, DeclaredFormat
from contracts.datasets.findings import Finding, Severity
from handlers.validation.report import Report
from worker.scan.conclusion import FileScan, concluded
from worker.scan.local import scan_local
from worker.scan.parts import Part
from worker.validate.inputs import CouldNotCheck, Input, Inputs
from worker.validate.outputs import written

#: How the message on a copy says which file the original is in: by its number, which is all an event needs.
_OTHER_FILE = re.compile(r"\bfile (\d+)$")

Advance = Callable[[Input, int], None]

_encode = msgspec.json.Encoder().encode


class Shown(Struct, frozen=True, kw_only=True):
    """A finding as it is printed: ``file`` is a name, and there only where the dataset may have several files."""

    file: str | UnsetType = UNSET
    line: int
    pointer: str
    code: str
    severity: Severity
    message: str
    hint: str


class Checked(NamedTuple):
    """The report on the files, and how long reading them took, in seconds."""

    inputs: Inputs
    report: Report
    seconds: float

    def shown(self, finding: Finding) -> Shown:
        """Return a finding as it is printed."""
        return _shown(self.inputs, finding)


def check(
    inputs: Inputs,
    format: DeclaredFormat,
    *,
    max_per_code: int,
    advance: Advance,
    report_path: Path | None = None,
    findings_path: Path | None = None,
) -> Checked:
    """Return the report on the files; its findings are capped a code, its totals exact. Blocks.

    Every finding is written to ``report_path`` as NDJSON, at the end, and to ``findings_path`` as the service keeps
    it; a file appears whole or not at all. ``advance`` is told how many bytes of which file were just read.

    Raises:
        CouldNotCheck: a file cannot be read, or the report not be written.
    """
    started = perf_counter()
    with TemporaryDirectory(prefix="validate-") as scratch:
        directory = Path(scratch)
        files = [
            _scan(file, index, format, max_per_code, directory, advance) for index, file in enumerate(inputs.files)
        ]
        found = concluded("", format, files, directory, cap=max_per_code)
        seconds = perf_counter() - started
        if report_path:
            decode = msgspec.json.Decoder(Finding).decode
            _write(report_path, (_encode(_shown(inputs, decode(line))) + b"\n" for line in found.findings()))
        if findings_path:
            _write(findings_path, found.findings())
    return Checked(inputs, found.conclusion.report, seconds)


def _scan(file: Input, index: int, format: DeclaredFormat, cap: int, directory: Path, advance: Advance) -> FileScan:
    part = Part(
        file=index,
        format=format,
        findings_path=str(directory / f"{index}.ndjson"),
        digests_path=str(directory / f"{index}.digest-parts"),
        cap=cap,
    )
    try:
        parts, sha256 = scan_local(file.path, part, os.cpu_count() or 1, lambda size: advance(file, size))
    except OSError as error:
        raise CouldNotCheck(f"{file.name}: {error.strerror}") from error
    size = sum(each.result.size_bytes for each in parts)
    return FileScan(checked=CheckedFile(uri=file.name, etag="", size_bytes=size, sha256=sha256), parts=parts)


def _write(path: Path, lines: Iterable[bytes]) -> None:
    try:
        with written(path) as whole:
            whole.writelines(lines)
    except OSError as error:
        raise CouldNotCheck(f"the report cannot be written to {path}: {error.strerror}") from error


def named(inputs: Inputs, finding: Finding) -> str:
    """Return the message of a finding with the name of the other file it is about, instead of its number."""
    other = _OTHER_FILE.search(finding.message) if finding.code == "duplicate-sample" else None
    if other is None:
        return finding.message
    return finding.message[: other.start()] + inputs.files[int(other[1]) - 1].name


def _shown(inputs: Inputs, finding: Finding) -> Shown:
    return Shown(
        file=inputs.files[finding.file].name if inputs.several else UNSET,
        line=finding.line,
        pointer=finding.pointer,
        code=finding.code,
        severity=finding.severity,
        message=named(inputs, finding),
        hint=finding.hint,
    )
