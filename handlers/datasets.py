"""What is known of a dataset now: its newest import and the verdict on it. Written by validation, read by others."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import FILE_ERRORS, errors_among
from contracts.task import Tolerance
from handlers import compare_and_set, layout
from handlers.ports.store import ObjectStore


class KnownDataset(Struct, frozen=True, kw_only=True):
    """The verdict on a dataset's newest import. Without a form's tolerance: that is arithmetic on this.

    ``traceparent`` is where in a trace the import came.
    """

    dataset_id: str
    project: str
    imported_at: datetime
    digest: str
    format: Format | None
    files: tuple[CheckedFile, ...]
    samples: int
    valid_samples: int
    totals: dict[str, int]
    findings_key: str
    unreadable: str | None = None
    traceparent: str | None = None


async def load(store: ObjectStore, dataset_id: str) -> KnownDataset | None:
    """Return what is known of a dataset, or None before its first report."""
    return await compare_and_set.read(store, layout.dataset_current(dataset_id), KnownDataset)


async def load_all(store: ObjectStore, dataset_ids: Iterable[str]) -> dict[str, KnownDataset | None]:
    """Return what is known of each dataset."""
    return {dataset_id: await load(store, dataset_id) for dataset_id in dataset_ids}


async def remember(store: ObjectStore, known: KnownDataset) -> None:
    """Make this the dataset's newest import, unless a newer one is remembered already. Idempotent."""

    def newer(held: KnownDataset | None) -> KnownDataset | None:
        # Two imports at the same instant: the higher digest wins, so every order of arrival ends the same.
        return None if held and (held.imported_at, held.digest) >= (known.imported_at, known.digest) else known

    await compare_and_set.update(store, layout.dataset_current(known.dataset_id), KnownDataset, newer)


def acceptable(known: KnownDataset, tolerance: Tolerance) -> bool:
    """Return whether a task with this tolerance may train on the dataset. No tolerance: one invalid sample rejects.

    A file that is wrong as a whole is not tolerated: no number of samples says how wrong it is.
    """
    if known.unreadable is not None or known.valid_samples == 0 or not FILE_ERRORS.isdisjoint(known.totals):
        return False
    invalid = known.samples - known.valid_samples
    if tolerance.max_invalid_records is not None:
        return invalid <= tolerance.max_invalid_records
    if tolerance.max_invalid_ratio is not None:
        # In decimal: 29 of 100 are not above 0.29, though 0.29 * 100 is below 29.
        return invalid <= Decimal(str(tolerance.max_invalid_ratio)) * known.samples
    return invalid == 0


def objection(known: KnownDataset, tolerance: Tolerance) -> str | None:
    """Return why a task with this tolerance may not train on the dataset; None: it may. Pure."""
    if acceptable(known, tolerance):
        return None
    if known.unreadable is not None:
        return f"cannot be read: {known.unreadable}"
    if broken := sorted(FILE_ERRORS.intersection(known.totals)):
        return f"cannot be trained on ({', '.join(broken)}); see its report"
    return f"{invalidity(known)}; mend or tolerate them; see its report"


def invalidity(known: KnownDataset) -> str:
    """Return how many samples are invalid, and by which codes: those of errors, for notes refuse nothing. Pure."""
    invalid, codes = known.samples - known.valid_samples, ", ".join(errors_among(known.totals)) or "empty"
    return f"{invalid} of {known.samples} samples are invalid ({codes})"
