"""What a worker's ports make wait for what: nothing small waits behind counts and scans of large datasets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import CheckedFile, DatasetFile
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenCounts
from tests.wait import wait_until
from worker import app
from worker.scan import scanner
from worker.settings import Settings
from worker.tokens import counter
from worker.tokens.jobs import CountJob
from worker.tokens.samples import LeftOut

MODEL = ModelEntry(name="tiny", version="1", prefix="base-models/tiny/1/", context_length=1024)
SMALL, LARGE = 1000, 2 << 30


class Gate:
    """Stands for what processes do: work on a large file goes on until it is let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.large: list[Any] = []

    def passed(self, size: int | None) -> None:
        if size == LARGE:
            self.large.append(size)
            assert self.open.wait(20)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()

    async def count_file(_: object, job: CountJob, __: LeftOut | None = None) -> TokenCounts:
        gate.passed(job.files[job.index].size_bytes)
        return TokenCounts(samples=1, total=1, trained=1, masked=0, longest=1, histogram={})

    async def look_up(_: object, jobs: list[CountJob]) -> list[LeftOut]:
        return [LeftOut() for _ in jobs]

    def scan(_: Settings, job: Any) -> str:
        gate.passed(job.file.size_bytes)
        return "not read"

    monkeypatch.setattr(app, "CpuPool", ThreadPoolExecutor)
    monkeypatch.setattr(counter, "look_up", look_up)
    monkeypatch.setattr(counter, "count_file", count_file)
    monkeypatch.setattr(scanner, "scan_in_process", scan)
    return gate


@asynccontextmanager
async def beside_large_ones(
    gate: Gate, work: Callable[[int, int], Awaitable[Any]], *, at_once: int
) -> AsyncIterator[None]:
    """Run work on twenty large files until the block is left; so many processes are busy with them in the block."""
    large = asyncio.ensure_future(work(20, LARGE))
    try:
        await wait_until(lambda: len(gate.large) == at_once)
        async with asyncio.timeout(60):
            yield
        assert len(gate.large) == at_once
    finally:
        gate.open.set()
        await large


@pytest.mark.parametrize("processes", [1, 2])
async def test_what_is_small_waits_behind_no_large_count_and_no_large_scan(
    tmp_path: Path, gate: Gate, processes: int
) -> None:
    settings = Settings(storage_url=(tmp_path / "bucket").as_uri(), cpu_workers=processes)
    async with app.default_ports(settings, stages=()) as ports:

        async def counted(files: int, size: int) -> Any:
            file = CheckedFile(uri="file:///a", etag="e", size_bytes=size, sha256="s")
            return await ports["tokens"].count([file] * files, "sft", MODEL)

        async def scanned(files: int, size: int) -> Any:
            return await ports["scanner"].scan([DatasetFile(uri="a", size_bytes=size)] * files, "sft", "findings")

        async with beside_large_ones(gate, counted, at_once=processes):
            assert (await counted(3, SMALL)).samples == 3
            assert "not read" in (await scanned(3, SMALL)).unreadable
        gate.open.clear()
        gate.large.clear()
        async with beside_large_ones(gate, scanned, at_once=processes):
            assert (await counted(3, SMALL)).samples == 3
            assert "not read" in (await scanned(3, SMALL)).unreadable
