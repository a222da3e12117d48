"""dataset.imported -> dataset.validated | dataset.rejected."""

from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from contracts.dataset import DatasetFile, DatasetImported, DatasetRejected, DatasetValidated
from contracts.datasets.findings import errors_among
from contracts.envelope import Event
from contracts.form import read_draft
from handlers import compare_and_set, datasets, drafts, layout
from handlers.datasets import KnownDataset
from handlers.outcome import Decision, FollowOn, Outcome
from handlers.ports.receipts import Receipts
from handlers.ports.scanner import DatasetScanner
from handlers.ports.store import ObjectStore
from handlers.tenancy import reading
from handlers.tenancy.projects import Projects
from handlers.validation.report import Report

STAGE = "dataset-validation"

#: Bumped when the rules on datasets change: then a replay with --recompute, and only that, judges known bytes anew.
VERSION = 1


class _Arrival(Struct, frozen=True):
    """When an import that does not say when it happened was first seen."""

    imported_at: datetime


class _Found(Struct, frozen=True):
    """The files of an import pinned to their bytes, and why they could not all be."""

    files: tuple[DatasetFile, ...]
    unreadable: str | None


async def validate_dataset(
    event: Event[DatasetImported],
    *,
    store: ObjectStore,
    scanner: DatasetScanner,
    receipts: Receipts,
    projects: Projects,
) -> Outcome:
    """Find every fault of an imported dataset and say the verdict. A bad file is a verdict, never an error.

    A file that the import's project may not read is not looked at, and makes the dataset unreadable like a missing one.

    Idempotent by (dataset, bytes, format, draft): a duplicate says the recorded verdict again. The report is computed
    once for the bytes, whatever draft an import carries.
    """
    imported = event.data
    found = await _pinned(store, event, projects)
    digest = layout.digest("dataset", found.files, imported.format)
    # What was stated is part of the key; a time that was not stated is not, or a re-published event would be new.
    stated = layout.digest(digest, imported.draft, imported.imported_at, imported.project)
    imported_at = await _imported_at(store, event, stated)
    draft = read_draft(imported.draft) if imported.draft else None
    if draft and draft.task_id:
        await drafts.mark(store, drafts.Mark(task_id=draft.task_id, imported_at=imported_at, digest=digest))

    async def work() -> Decision:
        report = await _report(store, scanner, imported, found, digest)
        known = _known(imported, report, imported_at, digest)
        await datasets.remember(store, replace(known, traceparent=event.traceparent))
        verdict = _verdict(imported, report, imported_at, digest, store)
        topic = "dataset.validated" if report.valid else "dataset.rejected"
        return Decision(
            name=topic.removeprefix("dataset."), follow_ons=(FollowOn(topic, imported.dataset_id, verdict),)
        )

    return await receipts.once(STAGE, f"{imported.dataset_id}/{stated}", event, work)


async def _imported_at(store: ObjectStore, event: Event[DatasetImported], stated: str) -> datetime:
    """Return when the files were imported. Where that is not stated, it is when the import was first seen.

    A later time of the same event would mark the task's newest import as one that no verdict is from, and no estimate
    would ever be made.
    """
    if event.data.imported_at is not None:
        return event.data.imported_at
    key = layout.dataset_import(event.data.dataset_id, stated)
    return (await compare_and_set.first(store, key, _Arrival(event.time))).imported_at


async def _pinned(store: ObjectStore, event: Event[DatasetImported], projects: Projects) -> _Found:
    """Return the files of an import as its event first found them: a replay is about the bytes of then, not of now."""
    key = layout.dataset_pins(event.data.dataset_id, event.id)
    held = await compare_and_set.read(store, key, _Found)
    return held or await compare_and_set.first(store, key, await _pin(store, event.data, projects))


async def _pin(store: ObjectStore, imported: DatasetImported, projects: Projects) -> _Found:
    """Return the files with the ETag and size they have now, or have to have."""
    pinned: list[DatasetFile] = []
    problems: list[str] = []
    for file in imported.files:
        info = None
        if refused := reading.refusal(file.uri, imported.project, projects=projects, store=store):
            problems.append(refused)
        else:
            info = await store.head(store.key(file.uri))
            if info is None:
                problems.append(f"{file.uri}: no such file; upload it again, then import the dataset again")
            elif file.etag is not None and file.etag.strip('"') != info.etag:  # S3 says it in quotes
                problems.append(f"{file.uri}: changed since it was imported; import the dataset again")
        size = info.size_bytes if info else file.size_bytes
        pinned.append(replace(file, etag=info.etag if info else None, size_bytes=size))
    return _Found(tuple(pinned), "; ".join(problems) or None)


async def _report(
    store: ObjectStore, scanner: DatasetScanner, imported: DatasetImported, found: _Found, digest: str
) -> Report:
    if found.unreadable is not None:
        return Report(
            digest=digest, format=None, files=(), samples=0, valid_samples=0, totals={}, findings=(),
            unreadable=found.unreadable,
        )  # fmt: skip
    key = layout.dataset_report(imported.dataset_id, digest)
    if stored := await store.get(key):
        report = msgspec.json.decode(stored.body, type=Report)
        if report.rules_version == VERSION:
            return report
    findings_key = layout.dataset_findings(imported.dataset_id, digest)
    report = replace(await scanner.scan(found.files, imported.format, findings_key), rules_version=VERSION)
    if report.unreadable is None:
        # Unconditional on purpose: the report is a function of the bytes, so a second writer writes the same.
        await store.put(key, msgspec.json.encode(report))
    return report


def _known(imported: DatasetImported, report: Report, imported_at: datetime, digest: str) -> KnownDataset:
    return KnownDataset(
        dataset_id=imported.dataset_id,
        project=imported.project,
        imported_at=imported_at,
        digest=digest,
        format=report.format,
        files=report.files,
        samples=report.samples,
        valid_samples=report.valid_samples,
        totals=report.totals,
        findings_key=layout.dataset_findings(imported.dataset_id, digest),
        unreadable=report.unreadable,
    )


def _verdict(
    imported: DatasetImported, report: Report, imported_at: datetime, digest: str, store: ObjectStore
) -> DatasetValidated | DatasetRejected:
    readable = report.unreadable is None
    verdict = DatasetValidated(
        dataset_id=imported.dataset_id,
        project=imported.project,
        digest=digest,
        format=report.format,
        files=report.files,
        samples=report.samples,
        valid_samples=report.valid_samples,
        totals=report.totals,
        findings=report.findings,
        imported_at=imported_at,
        report_uri=store.uri(layout.dataset_report(imported.dataset_id, digest)) if readable else None,
        findings_uri=store.uri(layout.dataset_findings(imported.dataset_id, digest)) if readable else None,
        draft=imported.draft,
    )
    if report.valid:
        return verdict
    reason, message = _why(report)
    fields = {name: getattr(verdict, name) for name in verdict.__struct_fields__}
    return DatasetRejected(**fields, reason=reason, message=message)


def _why(report: Report) -> tuple[str, str]:
    if report.unreadable is not None:
        return "unreadable", report.unreadable
    invalid = report.samples - report.valid_samples
    codes = ", ".join(f"{code} x{report.totals[code]}" for code in errors_among(report.totals))
    return "invalid-samples", f"{invalid} of {report.samples} samples are invalid: {codes}"
