"""The report on a dataset: about its bytes and its format alone, computed once."""

from collections.abc import Sequence

from msgspec import Struct

from contracts.dataset import CheckedFile, DatasetFile, Format
from contracts.datasets.findings import FILE_ERRORS, Finding
from handlers import layout

#: Findings a code that a report names; the full list is stored beside it.
CAP = 20


class Report(Struct, frozen=True, kw_only=True):
    """What a scan found.

    ``totals`` counts findings a code, exactly; ``findings`` is capped a code. In valid samples, ``roles`` counts
    messages, ``labels`` documents, ``candidates`` samples by how many they have, ``spellings`` samples by which of
    several spellings they are in. ``rules_version`` says by which version of the rules. ``unreadable`` says why the
    files could not be read as a whole (missing, changed under us), and is then the reason of the rejection.
    """

    digest: str
    format: Format | None
    files: tuple[CheckedFile, ...]
    samples: int
    valid_samples: int
    totals: dict[str, int]
    findings: tuple[Finding, ...]
    roles: dict[str, int] = {}
    labels: dict[str, int] = {}
    candidates: dict[str, int] = {}
    spellings: dict[str, int] = {}
    unreadable: str | None = None
    rules_version: int | None = None

    @property
    def valid(self) -> bool:
        """Return whether every file and every sample is valid; no form's tolerance is applied."""
        if self.unreadable is not None or not FILE_ERRORS.isdisjoint(self.totals):
            return False
        return self.samples > 0 and self.samples == self.valid_samples


def content_digest(files: Sequence[DatasetFile], format: str) -> str:
    """Return what a report is about: the SHA-256 (hex) of the files (URI, ETag, size) in order, and the format.

    The same for the same pinned files wherever it is computed; other bytes are another digest.
    """
    return layout.digest("dataset", tuple(files), format)


class Capped:
    """Keeps the first findings of each code: ``cap`` of them."""

    def __init__(self, cap: int = CAP) -> None:
        self._cap = cap
        self._kept: dict[str, list[Finding]] = {}

    def add(self, finding: Finding) -> None:
        """Keep a finding, unless there are enough of its code."""
        kept = self._kept.setdefault(finding.code, [])
        if len(kept) < self._cap:
            kept.append(finding)

    def findings(self) -> tuple[Finding, ...]:
        """Return what was kept, by file and line."""
        every = [finding for kept in self._kept.values() for finding in kept]
        return tuple(sorted(every, key=lambda finding: (finding.file, finding.line)))
