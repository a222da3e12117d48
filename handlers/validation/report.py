"""The report on a dataset: about its bytes and its format alone, computed once."""

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import Finding


class Report(Struct, frozen=True, kw_only=True):
    """What a scan found.

    ``totals`` counts findings a code, exactly; ``findings`` is capped a code. ``unreadable`` says why the files could
    not be read as a whole (missing, changed under us), and is then the reason of the rejection.
    """

    digest: str
    format: Format | None
    files: tuple[CheckedFile, ...]
    samples: int
    valid_samples: int
    totals: dict[str, int]
    findings: tuple[Finding, ...]
    roles: dict[str, int] = {}
    unreadable: str | None = None

    @property
    def valid(self) -> bool:
        """Return whether every sample is valid; no form's tolerance is applied."""
        return self.unreadable is None and self.samples > 0 and self.samples == self.valid_samples
