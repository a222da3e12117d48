"""The DatasetScanner: every file in processes of its own, so that scanning never holds up heartbeats."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from contracts.dataset import CheckedFile, DatasetFile, DeclaredFormat
from handlers.errors import Transient
from handlers.validation.report import Report, content_digest
from worker.cpu import LongWork
from worker.scan.conclusion import FileScan
from worker.scan.parts import PART_BYTES, Part, split
from worker.scan.process import (
    ConcludeJob,
    ScanJob,
    Scanned,
    conclude_in_process,
    decide_in_process,
    hash_in_process,
    scan_in_process,
)
from worker.settings import Settings

MAX_FILES = 20

#: Datasets of so many bytes take a second of a core, or minutes: others must not wait behind them.
LONG_BYTES = 256 << 20

#: What a process does with a job, and how it is given one.
Work = Callable[[Settings, Any], Any]
InProcess = Callable[[Work, Any], Awaitable[Any]]


class Scanner:
    """The DatasetScanner. Files, and the parts of large ones, are scanned side by side in the processes of ``pool``.

    Those of large datasets are in at most ``processes`` of them at a time.
    """

    def __init__(self, settings: Settings, pool: Pool, *, processes: int = 1) -> None:
        self._settings, self._pool, self._processes = settings, pool, processes
        self._long_work = LongWork(pool, processes)

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        """Return the report on the files; every finding is stored under ``findings_key`` as NDJSON, even if none.

        Deterministic and repeatable: depends on the bytes and the format alone. A file that is missing, outside the
        bucket, too large or changed since it was imported makes the dataset unreadable: a report, not an error, and
        nothing is stored.

        Raises:
            Transient: a scanning process was killed.
            Unavailable: the bucket does not answer.
        """
        declared: DeclaredFormat = msgspec.convert(format, DeclaredFormat)
        if len(files) > MAX_FILES:
            reason = f"{len(files)} files; a dataset has at most {MAX_FILES}: join some of them"
            return _unreadable(files, format, [reason])
        in_process = self._as_long_work if _takes_long(files) else self._in_process
        # A process of the pool cannot be stopped: after a cancel it may still write here for a while.
        with TemporaryDirectory(prefix="scan-", ignore_cleanup_errors=True) as directory:
            jobs = [
                ScanJob(
                    file=file,
                    part=Part(
                        file=index,
                        format=declared,
                        findings_path=str(Path(directory, f"{index}.ndjson")),
                        digests_path=str(Path(directory, f"{index}.digest-parts")),
                    ),
                )
                for index, file in enumerate(files)
            ]
            try:
                scanned = await _all([_file(job, self._processes // len(files), in_process) for job in jobs])
                reasons = [each for each in scanned if isinstance(each, str)]
                if reasons:
                    return _unreadable(files, format, reasons)
                read = tuple(each for each in scanned if isinstance(each, FileScan))
                conclusion = ConcludeJob(
                    digest=content_digest([_pinned(each) for each in read], format),
                    format=declared,
                    files=read,
                    findings_key=findings_key,
                    directory=directory,
                )
                report: Report = await in_process(conclude_in_process, conclusion)
                return report
            except BrokenProcessPool as error:
                raise Transient("a process that scanned a dataset was killed") from error

    def _in_process(self, work: Work, job: Any) -> Awaitable[Any]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work, self._settings, job)

    def _as_long_work(self, work: Work, job: Any) -> Awaitable[Any]:
        return self._long_work.run(work, self._settings, job)


async def _file(job: ScanJob, most_parts: int, in_process: InProcess) -> FileScan | str:
    """Scan a file, in several parts where it is large and there are processes for it."""
    if most_parts > 1 and job.file.etag is not None and (job.file.size_bytes or 0) >= 2 * PART_BYTES:
        return await _in_parts(job, most_parts, in_process)
    scanned = await in_process(scan_in_process, job)
    return scanned if isinstance(scanned, str) else _file_scan(job.file, [scanned], scanned.sha256)


async def _in_parts(job: ScanJob, most: int, in_process: InProcess) -> FileScan | str:
    """Scan the parts of a file side by side.

    A SHA-256 cannot be put together from parts: one more process reads the file just for it, which is several
    times faster than scanning.
    """
    decision = await in_process(decide_in_process, job)
    if isinstance(decision, str):
        return decision
    parts = split(job.part, job.file.size_bytes or 0, decision, most)
    scanning = [in_process(scan_in_process, ScanJob(file=job.file, part=part)) for part in parts]
    hashed, *scanned = await _all([in_process(hash_in_process, job), *scanning])
    reason = next((each for each in (*scanned, hashed) if isinstance(each, str)), None)
    return reason or _file_scan(job.file, scanned, hashed.sha256)


async def _all(working: Sequence[Awaitable[Any]]) -> list[Any]:
    """Wait for all of them; where one fails, what has not begun does not begin."""
    tasks = [asyncio.ensure_future(each) for each in working]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _takes_long(files: Sequence[DatasetFile]) -> bool:
    """Return whether a scan takes long. Files whose import did not state their size may be of any."""
    sizes = [file.size_bytes for file in files]
    return None in sizes or sum(size or 0 for size in sizes) >= LONG_BYTES


def _file_scan(file: DatasetFile, scanned: Sequence[Scanned], sha256: str) -> FileScan:
    first = scanned[0]
    checked = CheckedFile(uri=file.uri, etag=first.etag, size_bytes=first.size_bytes, sha256=sha256)
    return FileScan(checked=checked, parts=tuple(each.part for each in scanned))


def _pinned(file: FileScan) -> DatasetFile:
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
