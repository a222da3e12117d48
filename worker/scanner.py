"""The DatasetScanner: every file in a process of its own, so that scanning never holds up heartbeats."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

import msgspec

from contracts.dataset import DatasetFile, Format
from handlers.errors import Transient
from handlers.validation.conclusion import ScannedFile, conclude
from handlers.validation.report import Report, content_digest
from worker.scan_process import ScanJob, StoreJob, scan_in_process, store_in_process
from worker.settings import Settings

MAX_FILES = 20

Job = TypeVar("Job")
Result = TypeVar("Result")


class Scanner:
    """The DatasetScanner. Files are scanned side by side in the processes of ``pool``."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings, self._pool = settings, pool

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        """Return the report on the files; every finding is stored under ``findings_key`` as NDJSON, even if none.

        Deterministic and repeatable: depends on the bytes and the format alone. A file that is missing, outside the
        bucket, too large or changed since it was imported makes the dataset unreadable: a report, not an error, and
        nothing is stored.

        Raises:
            Transient: a scanning process was killed.
            Unavailable: the bucket does not answer.
        """
        declared: Format | Literal["auto"] = msgspec.convert(format, Format | Literal["auto"])
        if len(files) > MAX_FILES:
            reason = f"{len(files)} files; a dataset has at most {MAX_FILES}: join some of them"
            return _unreadable(files, format, [reason])
        # A process of the pool cannot be stopped: after a cancel it may still write here for a while.
        with TemporaryDirectory(prefix="findings-", ignore_cleanup_errors=True) as directory:
            jobs = [
                ScanJob(file=file, index=index, format=declared, findings_path=str(Path(directory, f"{index}.ndjson")))
                for index, file in enumerate(files)
            ]
            scanned = await self._side_by_side(scan_in_process, jobs)
            reasons = [each for each in scanned if isinstance(each, str)]
            if reasons:
                return _unreadable(files, format, reasons)
            read = [each for each in scanned if isinstance(each, ScannedFile)]
            conclusion = conclude(content_digest([_pinned(each) for each in read], format), declared, read)
            store = StoreJob(
                findings_key=findings_key,
                parts=tuple(job.findings_path for job in jobs if job.index not in conclusion.replaced),
                added=conclusion.added,
                whole_path=str(Path(directory, "whole.ndjson")),
            )
            await self._side_by_side(store_in_process, [store])
        return conclusion.report

    async def _side_by_side(self, work: Callable[[Settings, Job], Result], jobs: Sequence[Job]) -> list[Result]:
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(self._pool, work, self._settings, job) for job in jobs]
        try:
            return await asyncio.gather(*running)
        except BrokenProcessPool as error:
            raise Transient("a process that scanned a dataset was killed") from error
        finally:
            for job in running:
                job.cancel()


def _pinned(file: ScannedFile) -> DatasetFile:
    checked = file.checked
    return DatasetFile(uri=checked.uri, size_bytes=checked.size_bytes, etag=checked.etag)


def _unreadable(files: Sequence[DatasetFile], format: str, reasons: Sequence[str]) -> Report:
    return Report(
        digest=content_digest(files, format),
        format=None,
        files=(),
        samples=0,
        valid_samples=0,
        totals={},
        findings=(),
        unreadable="; ".join(reasons),
    )
