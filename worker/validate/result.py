"""What programs read: one JSON object about a checked dataset."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.dataset import Format
from worker.validate.checking import Checked, Shown

if TYPE_CHECKING:
    from worker.validate.tokens import CountedTokens


class Tokens(Struct, frozen=True, kw_only=True):
    """Tokens of the valid samples for one model.

    ``trained`` are those with a loss weight above 0, ``masked`` the others; ``longest`` is of one sample, in tokens;
    ``histogram`` maps the upper bound of a power-of-two bucket of lengths to the samples in it; ``too_long`` counts
    the samples that are longer than the model's context: they are in no other number, and not valid.
    """

    total: int
    trained: int
    masked: int
    longest: int
    histogram: dict[int, int]
    too_long: int
    model: str


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
    tokens: Tokens | None
    sha256: dict[str, str]


def not_checked(reason: str) -> bytes:
    """Return, as one JSON object, that nothing could be said: ``valid`` is null, ``error`` says why."""
    return msgspec.json.encode({"valid": None, "error": reason})


def as_json(checked: Checked, tokens: "CountedTokens | None" = None) -> bytes:
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
            tokens=_tokens(tokens) if tokens else None,
            sha256={file.uri: file.sha256 for file in report.files},
        )
    )


def _tokens(counted: "CountedTokens") -> Tokens:
    counts = counted.counts
    return Tokens(
        total=counts.total,
        trained=counts.trained,
        masked=counts.masked,
        longest=counts.longest,
        histogram=counts.histogram,
        too_long=counts.too_long,
        model=counted.model.name,
    )
