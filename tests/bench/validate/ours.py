"""Ours: the scan a worker runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy  # noqa: F401 - loaded before the clock starts, as what the others use is

from contracts.datasets.findings import Finding
from handlers.validation.scan import Scan
from tests.bench.validate.result import Format, Result

_CHUNK_BYTES = 1 << 19


def check(path: str, format: Format) -> Result:
    return check_range(path, format, 0, Path(path).stat().st_size)


def check_range(path: str, format: Format, start: int, end: int) -> Result:
    """Check the lines of a byte range that begins and ends with a line."""
    wrong: set[int] = set()
    warned: set[int] = set()

    def report(finding: Finding) -> None:
        if finding.severity != "note":
            (wrong if finding.severity == "error" else warned).add(finding.line)

    scan = Scan(format, report)
    for chunk in _chunks(Path(path), start, end):
        scan.feed(chunk)
    result = scan.finish()
    return Result(result.samples, result.valid_samples, len(warned - wrong), result.roles)


def _chunks(path: Path, start: int, end: int) -> Iterator[bytearray]:
    """Yield one buffer again and again, as a worker's scan of a local file does."""
    buffer = bytearray(_CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end and (size := file.readinto(buffer)):
            size = min(size, end - start)
            start += size
            yield buffer if size == len(buffer) else buffer[:size]
