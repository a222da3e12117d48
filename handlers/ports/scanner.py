"""The scan of datasets, as handlers need it."""

from collections.abc import Sequence
from typing import Protocol

from contracts.dataset import DatasetFile
from handlers.validation.report import Report


class DatasetScanner(Protocol):
    """Reads a dataset's files and finds every fault, off the event loop."""

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        """Return the report on the files; the full list of findings is stored under ``findings_key`` as NDJSON.

        Deterministic: depends on the bytes and the format alone. A file that is missing or unreadable is a finding,
        not an error. Raises Unavailable where the bucket does not answer.
        """
        ...
