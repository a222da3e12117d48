"""What is said about a dataset: that it was imported, and what validation found."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from contracts.datasets.findings import Finding
from contracts.envelope import DEFAULT_PROJECT, Id, Time

Format = Literal["sft", "preference", "ranking", "pretrain"]

#: What a dataset is said to be when it is imported: ``auto`` leaves it to validation to find out.
DeclaredFormat = Literal["auto", Format]


class DatasetFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One JSONL file of a dataset. ``etag`` pins the bytes; without one, those found at validation are taken."""

    uri: Annotated[str, Meta(min_length=1, max_length=2048)]
    size_bytes: Annotated[int, Meta(ge=0)] | None = None
    etag: str | None = None


class DatasetImported(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Files of a dataset are in the bucket (``dataset.imported``).

    ``draft`` may carry the form as far as it is filled in, with its ``task_id``, so that the fee can be shown before
    submission. ``imported_at`` defaults to the event's own time.
    """

    dataset_id: Id
    files: Annotated[tuple[DatasetFile, ...], Meta(min_length=1, max_length=20)]
    format: DeclaredFormat = "auto"
    project: Id = DEFAULT_PROJECT
    imported_at: Time | None = None
    draft: dict[str, Any] | None = None


class CheckedFile(Struct, frozen=True, kw_only=True):
    """A file as validation read it: the ETag it was pinned to and the SHA-256 of its bytes."""

    uri: str
    etag: str
    size_bytes: int
    sha256: str


class DatasetVerdict(Struct, frozen=True, kw_only=True):
    """What validation found, without any form's tolerance: the body of dataset.validated and dataset.rejected.

    ``findings`` is capped a code; ``totals`` is exact; the full list is at ``findings_uri`` as NDJSON.
    """

    dataset_id: Id
    project: Id
    digest: str
    format: Format | None
    files: tuple[CheckedFile, ...]
    samples: int
    valid_samples: int
    totals: dict[str, int]
    findings: tuple[Finding, ...]
    imported_at: Time
    report_uri: str | None = None
    findings_uri: str | None = None
    draft: dict[str, Any] | None = None


class DatasetValidated(DatasetVerdict, frozen=True, kw_only=True):
    """Every sample is valid (``dataset.validated``)."""


class DatasetRejected(DatasetVerdict, frozen=True, kw_only=True):
    """At least one sample is invalid, or a file could not be read (``dataset.rejected``).

    A form that tolerates invalid samples may still train on it.
    """

    reason: str
    message: str
