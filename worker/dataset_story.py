"""The story of a dataset, from what stands in the bucket: the verdict on its newest import, with its reason."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from contracts.dataset import Format
from contracts.datasets.findings import Finding
from contracts.task import Tolerance
from handlers import datasets, layout
from handlers.datasets import KnownDataset
from handlers.ports.store import ObjectStore
from handlers.table import STAGES
from handlers.validation.report import Report
from worker.story import Chapter, chapters_of


class DatasetStory(Struct, frozen=True, kw_only=True):
    """The verdict on a dataset's newest import, without any form's tolerance, and every decision about it, in order.

    ``objection`` is why it was rejected. ``findings`` are those of its report, capped a code, ``files`` the URIs that
    they count in; all are at ``findings_uri``. Files that could not be read have no report, and no URI of one.
    """

    dataset_id: str
    project: str
    imported_at: datetime
    verdict: Literal["validated", "rejected"]
    objection: str | None
    format: Format | None
    samples: int
    valid_samples: int
    totals: dict[str, int]
    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    report_uri: str | None
    findings_uri: str | None
    chapters: tuple[Chapter, ...]


async def dataset_story_of(store: ObjectStore, dataset_id: str) -> DatasetStory | None:
    """Return a dataset's story, None before its first verdict. Only reads. Raises Unavailable."""
    known = await datasets.load(store, dataset_id)
    if known is None:
        return None
    report = await _report(store, known)
    objection = datasets.objection(known, Tolerance())
    return DatasetStory(
        dataset_id=dataset_id,
        project=known.project,
        imported_at=known.imported_at,
        verdict="rejected" if objection else "validated",
        objection=objection,
        format=known.format,
        samples=known.samples,
        valid_samples=known.valid_samples,
        totals=known.totals,
        files=tuple(file.uri for file in known.files),
        findings=report.findings if report else (),
        report_uri=store.uri(layout.dataset_report(dataset_id, known.digest)) if report else None,
        findings_uri=store.uri(known.findings_key) if report else None,
        chapters=await chapters_of(store, [(stage, dataset_id) for stage in STAGES]),
    )


async def _report(store: ObjectStore, known: KnownDataset) -> Report | None:
    stored = await store.get(layout.dataset_report(known.dataset_id, known.digest))
    return msgspec.json.decode(stored.body, type=Report) if stored else None
