"""Checking the files of one dataset: one pass, in memory that does not grow with them."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter
from typing import BinaryIO, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import Finding, Severity
from handlers.validation.conclusion import ScannedFile, conclude
from handlers.validation.report import Capped, Report
from handlers.validation.scan import Scan
from worker.validate.inputs import CouldNotCheck, Input, Inputs
from worker.validate.outputs import written

CHUNK_BYTES = 1 << 20

Advance = Callable[[Input, int], None]


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
    format: Format | Literal["auto"],
    *,
    max_per_code: int,
    advance: Advance,
    report_path: Path | None = None,
) -> Checked:
    """Return the report on the files; its findings are capped a code, its totals exact. Blocks.

    Every finding is written to ``report_path`` as NDJSON, at the end; a file appears whole or not at all.
    ``advance`` is told how many bytes of which file were just read.

    Raises:
        CouldNotCheck: a file cannot be read, or the report not be written.
    """
    started = perf_counter()
    encode = msgspec.json.Encoder().encode
    with ExitStack() as open_files:
        spools: list[BinaryIO | None] = []
        scanned = []
        for index, file in enumerate(inputs.files):
            # A file of its own each: the findings of one that turns out to be another format do not count.
            spool = open_files.enter_context(TemporaryFile()) if report_path else None
            spools.append(spool)

            def keep(finding: Finding, spool: BinaryIO | None = spool) -> None:
                if spool:
                    spool.write(encode(_shown(inputs, finding)) + b"\n")

            scanned.append(_scan(file, index, format, max_per_code, keep, advance))
        conclusion = conclude("", format, scanned, cap=max_per_code)
        seconds = perf_counter() - started
        if report_path:
            counted = [spool for index, spool in enumerate(spools) if spool and index not in conclusion.replaced]
            added = [encode(_shown(inputs, finding)) + b"\n" for finding in conclusion.added]
            _write(report_path, counted, added)
    return Checked(inputs, conclusion.report, seconds)


def _scan(
    file: Input,
    index: int,
    format: Format | Literal["auto"],
    max_per_code: int,
    keep: Callable[[Finding], None],
    advance: Advance,
) -> ScannedFile:
    capped = Capped(max_per_code)

    def report(finding: Finding) -> None:
        keep(finding)
        capped.add(finding)

    scan = Scan(format, report, file=index)
    try:
        with file.path.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                scan.feed(chunk)
                advance(file, len(chunk))
    except OSError as error:
        raise CouldNotCheck(f"{file.name}: {error.strerror}") from error
    result = scan.finish()
    checked = CheckedFile(uri=file.name, etag="", size_bytes=result.size_bytes, sha256=result.sha256)
    return ScannedFile(checked=checked, result=result, findings=capped.findings())


def _write(path: Path, spools: list[BinaryIO], added: list[bytes]) -> None:
    try:
        with written(path) as whole:
            for spool in spools:
                spool.seek(0)
                shutil.copyfileobj(spool, whole, CHUNK_BYTES)
            whole.writelines(added)
    except OSError as error:
        raise CouldNotCheck(f"the report cannot be written to {path}: {error.strerror}") from error


def _shown(inputs: Inputs, finding: Finding) -> Shown:
    return Shown(
        file=inputs.files[finding.file].name if inputs.several else UNSET,
        line=finding.line,
        pointer=finding.pointer,
        code=finding.code,
        severity=finding.severity,
        message=finding.message,
        hint=finding.hint,
    )
