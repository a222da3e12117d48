"""A file that was scanned in parts, as one: counts are added, lines are counted from its beginning."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from contracts.datasets.findings import CODES, Finding
from handlers.validation.scan import FileResult
from handlers.validation.statistics import total


class Shift(NamedTuple):
    """What makes a finding of a part one of the file: the lines before it, and what earlier parts said of the file."""

    lines_before: int
    said: frozenset[str] = frozenset()

    def of(self, finding: Finding) -> Finding | None:
        """Return the finding as one of the file; None where an earlier part says it already."""
        if finding.code in self.said:
            return None
        if CODES[finding.code].scope != "line":
            return finding
        return replace(finding, line=finding.line + self.lines_before)


def shifts(parts: Sequence[FileResult]) -> list[Shift]:
    """Return how the findings of each part become findings of the file."""
    found: list[Shift] = []
    lines = 0
    said: frozenset[str] = frozenset()
    for part in parts:
        found.append(Shift(lines, said))
        lines += part.lines
        said |= {code for code in part.totals if CODES[code].scope != "line"}
    return found


def joined(parts: Sequence[FileResult]) -> FileResult:
    """Return the counts of a file from those of its parts, in their order; at least one."""
    totals: Counter[str] = Counter()
    for part, shift in zip(parts, shifts(parts), strict=True):
        totals.update({code: count for code, count in part.totals.items() if code not in shift.said})
    return FileResult(
        format=parts[0].format,
        size_bytes=sum(part.size_bytes for part in parts),
        lines=sum(part.lines for part in parts),
        samples=sum(part.samples for part in parts),
        valid_samples=sum(part.valid_samples for part in parts),
        roles=total(part.roles for part in parts),
        totals=dict(sorted(totals.items())),
        labels=total(part.labels for part in parts),
        candidates=total(part.candidates for part in parts),
        spellings=total(part.spellings for part in parts),
    )


def moved(findings: Iterable[Finding], shift: Shift) -> list[Finding]:
    """Return the findings of a part as findings of the file."""
    return [found for finding in findings if (found := shift.of(finding)) is not None]
