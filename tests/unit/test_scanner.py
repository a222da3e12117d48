"""The scanner over a real bucket in a directory. Threads stand in for processes, except where that matters."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.dataset import DatasetFile
from contracts.datasets.findings import Finding
from handlers.errors import Transient, Unavailable
from handlers.ports.store import ObjectStore
from handlers.validation.report import CAP, content_digest
from tests.fakes.store import MemoryStore
from worker.cpu import CpuPool
from worker.scan import process as scan_process
from worker.scan.parts import Part
from worker.scan.process import ScanJob, Unreadable, scan_part
from worker.scan.scanner import Scanner
from worker.settings import Settings
from worker.storage import open_store

KEY = "datasets/d/digest/findings.ndjson"
PRETRAIN = b'{"text": "t"}\n'


def line(number: int, **fields: Any) -> bytes:
    messages = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"{number}!"}]
    return msgspec.json.encode({"messages": messages, **fields}) + b"\n"


def lines(start: int, count: int = 20) -> bytes:
    return b"".join(line(number) for number in range(start, start + count))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage_url=(tmp_path / "bucket").as_uri())


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


async def imported(settings: Settings, *bodies: bytes) -> list[DatasetFile]:
    """Put files into the bucket and return them pinned."""
    async with open_store(settings) as store:
        files = []
        for index, body in enumerate(bodies):
            etag = await store.put(f"uploads/{index}.jsonl", body)
            files.append(DatasetFile(uri=store.uri(f"uploads/{index}.jsonl"), size_bytes=len(body), etag=etag))
        return files


async def stored(settings: Settings) -> list[Finding]:
    async with open_store(settings) as store:
        found = await store.get(KEY)
    assert found is not None
    return msgspec.json.Decoder(Finding).decode_lines(found.body)


async def test_a_good_dataset_has_a_valid_report_and_an_empty_list_of_findings(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    files = await imported(settings, lines(0), lines(20))
    report = await Scanner(settings, threads).scan(files, "auto", KEY)
    assert report.valid
    assert (report.format, report.samples, report.valid_samples) == ("sft", 40, 40)
    assert report.roles == {"assistant": 40, "user": 40}
    assert report.digest == content_digest(files, "auto")
    assert [file.etag for file in report.files] == [file.etag for file in files]
    assert await stored(settings) == []


async def test_the_full_list_is_stored_and_the_report_is_capped(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    files = await imported(settings, b"".join(line(n, extra=n) for n in range(50)), b"[]\n" * 30 + lines(100))
    report = await Scanner(settings, threads).scan(files, "sft", KEY)
    assert report.totals == {"not-an-object": 30, "unknown-field": 50}
    assert len(report.findings) == 2 * CAP
    every = await stored(settings)
    assert len(every) == 80
    assert {(finding.file, finding.code) for finding in every} == {(0, "unknown-field"), (1, "not-an-object")}
    assert set(report.findings) <= set(every)
    assert (report.samples, report.valid_samples, report.valid) == (100, 70, False)


async def test_scanning_again_gives_the_same(settings: Settings, threads: ThreadPoolExecutor) -> None:
    files = await imported(settings, lines(0) + b"[]\n" + lines(0), b"x\n")
    first = await Scanner(settings, threads).scan(files, "sft", KEY)
    findings = await stored(settings)
    assert await Scanner(settings, threads).scan(files, "sft", KEY) == first
    assert await stored(settings) == findings


async def test_files_without_an_etag_are_pinned_to_what_is_there(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    files = await imported(settings, lines(0))
    unpinned = [DatasetFile(uri=file.uri) for file in files]
    quoted = [DatasetFile(uri=file.uri, etag=f'"{file.etag}"') for file in files]
    for given in (unpinned, quoted):
        report = await Scanner(settings, threads).scan(given, "sft", KEY)
        assert report.unreadable is None
        assert report.digest == content_digest(files, "sft")


async def test_a_file_of_another_format_than_the_first_is_one_finding(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    files = await imported(settings, lines(0), PRETRAIN * 30)
    report = await Scanner(settings, threads).scan(files, "auto", KEY)
    assert report.totals == {"wrong-format": 1}
    assert (report.format, report.valid, report.samples, report.valid_samples) == ("sft", False, 50, 20)
    assert [(finding.file, finding.line) for finding in await stored(settings)] == [(1, 1)]


async def test_what_valid_samples_have_is_added_up_over_the_files(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    documents = [{"text": f"{index}", "label": index == 0} for index in range(4)]
    body = b"".join(json.dumps({"query": f"{number}?", "docs": documents}).encode() + b"\n" for number in range(10))
    report = await Scanner(settings, threads).scan(await imported(settings, body, PRETRAIN, body), "ranking", KEY)
    assert report.labels == {"negative": 60, "positive": 20}
    assert report.spellings == {"true/false": 20}
    assert report.roles == report.candidates == {}


async def test_what_only_the_whole_dataset_shows(settings: Settings, threads: ThreadPoolExecutor) -> None:
    files = await imported(settings, lines(0, 3), lines(0, 3))
    report = await Scanner(settings, threads).scan(files, "sft", KEY)
    assert report.totals == {"duplicate-sample": 1, "too-few-samples": 1}
    assert report.valid
    assert list(report.findings) == sorted(await stored(settings), key=lambda finding: finding.file)


async def test_an_empty_file_beside_a_good_one_is_no_valid_dataset(
    settings: Settings, threads: ThreadPoolExecutor
) -> None:
    files = await imported(settings, lines(0), b"")
    report = await Scanner(settings, threads).scan(files, "sft", KEY)
    assert report.samples == report.valid_samples == 20
    assert not report.valid


# --- files that cannot be read ----------------------------------------------------------------------------------


async def refused(settings: Settings, pool: ThreadPoolExecutor, *files: DatasetFile) -> str:
    report = await Scanner(settings, pool).scan(files, "sft", KEY)
    assert not report.valid
    assert report.unreadable is not None
    async with open_store(settings) as store:
        assert await store.get(KEY) is None
    return report.unreadable


async def test_every_unreadable_file_is_named_with_the_remedy(settings: Settings, threads: ThreadPoolExecutor) -> None:
    good, changed, short = await imported(settings, lines(0), lines(20), lines(40))
    missing = DatasetFile(uri=good.uri.replace("0.jsonl", "none.jsonl"))
    text = await refused(
        settings,
        threads,
        good,
        msgspec.structs.replace(changed, etag="older"),
        msgspec.structs.replace(short, size_bytes=10**6),
        missing,
        DatasetFile(uri="file:///etc/passwd"),
        DatasetFile(uri="s3://elsewhere/x.jsonl"),
    )
    assert len(text.split("; ")) >= 5
    for part in ("changed since", "1000000 were imported", "no such file", "/etc/passwd: not in", "s3://elsewhere"):
        assert part in text
    assert good.uri not in text


async def test_too_many_files(settings: Settings, threads: ThreadPoolExecutor) -> None:
    files = await imported(settings, *[line(number) for number in range(21)])
    assert "at most 20" in await refused(settings, threads, *files)


async def test_a_file_that_is_too_large(
    settings: Settings, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_process, "MAX_FILE_BYTES", 100)
    assert "split it" in await refused(settings, threads, *await imported(settings, lines(0)))


def job(store: ObjectStore, tmp_path: Path) -> ScanJob:
    file = DatasetFile(uri=store.uri("data"))
    part = Part(file=0, format="sft", findings_path=str(tmp_path / "findings"), digests_path=str(tmp_path / "digests"))
    return ScanJob(file=file, part=part)


class ChangesWhileRead(MemoryStore):
    """A bucket whose objects change, or go, after the first range of them was read."""

    def __init__(self, then: bytes | None) -> None:
        super().__init__()
        self._then = then

    async def get(self, key: str, **options: Any) -> Any:
        part = await super().get(key, **options)
        if self._then is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = self._then
        return part


@pytest.mark.parametrize(("then", "text"), [(b"other", "changed since"), (None, "deleted while")])
async def test_a_file_that_changes_while_it_is_read(
    then: bytes | None, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_process, "CHUNK_BYTES", 64)
    store = ChangesWhileRead(then)
    store.objects["data"] = lines(0)
    with pytest.raises(Unreadable, match=text):
        await scan_part(store, job(store, tmp_path))


async def test_ranges_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.objects["data"] = lines(0) + b"[]"
    whole = await scan_part(store, job(store, tmp_path))
    monkeypatch.setattr(scan_process, "CHUNK_BYTES", 7)
    assert await scan_part(store, job(store, tmp_path)) == whole


async def test_a_bucket_that_does_not_answer_is_no_verdict(tmp_path: Path) -> None:
    store = MemoryStore()
    store.available = False
    with pytest.raises(Unavailable):
        await scan_part(store, job(store, tmp_path))


# --- processes --------------------------------------------------------------------------------------------------


async def test_a_dataset_is_scanned_in_processes_and_a_killed_one_is_transient(settings: Settings) -> None:
    files = await imported(settings, lines(0) + b"x\n")
    pool = CpuPool(1)
    scanner = Scanner(settings, pool)
    try:
        # Both are waiting for the one process before it has started.
        pool.submit(os._exit, 1)
        with pytest.raises(Transient):
            await scanner.scan(files, "sft", KEY)
        report = await scanner.scan(files, "sft", KEY)
        assert report.totals == {"invalid-json": 1}
        assert len(await stored(settings)) == 1
    finally:
        pool.shutdown()
