"""What programs read: one JSON object about a checked dataset."""

import msgspec
from msgspec import Struct

from contracts.dataset import Format
from handlers.ports import TokenCounts
from worker.validate.checking import Checked, Shown


class Result(Struct, frozen=True, kw_only=True):
    """``findings`` is capped a code, ``totals`` is exact; ``sha256`` is hex by file.

    ``tokens`` is null unless they were counted for a model.
    """

    valid: bool
    format: Format | None
    files: tuple[str, ...]
    samples: int
    valid_samples: int
    findings: tuple[Shown, ...]
    totals: dict[str, int]
    tokens: TokenCounts | None
    sha256: dict[str, str]


def not_checked(reason: str) -> bytes:
    """Return, as one JSON object, that nothing could be said: ``valid`` is null, ``error`` says why."""
    return msgspec.json.encode({"valid": None, "error": reason})


def as_json(checked: Checked) -> bytes:
    """Return the result as one JSON object."""
    report = checked.report
    return msgspec.json.encode(
        Result(
            valid=report.valid,
            format=report.format,
            files=tuple(file.uri for file in report.files),
            samples=report.samples,
            valid_samples=report.valid_samples,
            findings=tuple(map(checked.shown, report.findings)),
            totals=report.totals,
            tokens=None,
            sha256={file.uri: file.sha256 for file in report.files},
        )
    )
