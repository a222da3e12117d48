"""What a task costs the bucket: requests a stage, counted over one whole task in memory. The same on every machine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace

from contracts.dataset import CheckedFile, DatasetFile, Format
from contracts.envelope import Event
from handlers.outcome import Outcome
from handlers.planning.selection import Draws, Selection
from handlers.ports.catalog import ModelEntry
from handlers.ports.store import ObjectInfo
from handlers.ports.tokens import TokenCounts
from handlers.validation.report import Report
from tests.fakes.store import MemoryStore
from tests.fakes.world import TINY, World, form_event
from worker.planning.planner import StorePlanner
from worker.scan.conclusion import FileScan, concluded
from worker.scan.parts import Part
from worker.scan.process import ScanJob, scan_part
from worker.tokens.counter import count_file
from worker.tokens.jobs import CountJob
from worker.tokens.model_files import kept_files
from worker.trainer.tiny_tokenizer import tiny_tokenizer

#: What S3 prices as writes; GET and HEAD are reads, DELETE is free.
WRITES = frozenset({"put", "list", "copy"})
READS = frozenset({"get", "head"})
#: What the pool's processes ask for a stage is counted under the stage's name and this.
IN_POOL = ", in the pool"

_LINE = b'{"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1!"}]}\n'
_DRAFT = {"training_type": "FinetuneLoRA", "base_model": {"foundation": {"name": "tiny", "version": "1"}}}


class CountingStore(MemoryStore):
    """A bucket that counts what S3 would be asked for the same, by who asks.

    That is so for objects below 8 MiB and listings below 1,000 keys: larger ones are asked for in parts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted: dict[str, Counter[str]] = {}
        #: The same by first folder, whoever asks.
        self.under: dict[str, Counter[str]] = {}
        self.asking = "tests"

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        self._count("list", prefix)
        async for found in super().list(prefix):
            yield found

    async def copy(self, source: str, target: str) -> None:
        # S3's copy needs the size first: see S3Store.
        self._count("head", source)
        self._count("copy", target)
        await super().copy(source, target)

    async def head(self, key: str) -> Any:
        self._count("head", key)
        return await super().head(key)

    async def get(self, key: str, **named: Any) -> Any:
        self._count("get", key)
        return await super().get(key, **named)

    async def put(self, key: str, body: bytes, **named: Any) -> str:
        self._count("put", key)
        return await super().put(key, body, **named)

    async def download(self, key: str, path: Path) -> None:
        # S3 is asked for the size first, and then for parts of this very version.
        self._count("head", key)
        self._count("get", key)
        await super().download(key, path)

    async def delete(self, key: str) -> None:
        self._count("delete", key)
        await super().delete(key)

    def _count(self, method: str, key: str) -> None:
        self.counted.setdefault(self.asking, Counter())[method] += 1
        if self.asking != "tests":
            self.under.setdefault(key.partition("/")[0], Counter())[method] += 1


class _Pool:
    """The scanner, the token counter and the planner as their processes run them, but in this one."""

    def __init__(self, store: CountingStore) -> None:
        self._store = store

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        with TemporaryDirectory() as folder, _PoolAsks(self._store):
            parts = [
                Part(file=n, format="auto", findings_path=f"{folder}/{n}", digests_path=f"{folder}/{n}.digests")
                for n in range(len(files))
            ]
            scans = []
            for file, part in zip(files, parts, strict=True):
                scanned = await scan_part(self._store, ScanJob(file=file, part=part))
                size, etag, sha256 = scanned.size_bytes, scanned.etag, scanned.sha256
                checked = CheckedFile(uri=file.uri, etag=etag, size_bytes=size, sha256=sha256)
                scans.append(FileScan(checked=checked, parts=(scanned.part,)))
            found = concluded("digest", "auto", scans, Path(folder))
            await self._store.put(findings_key, b"".join(found.findings()))
            return found.conclusion.report

    async def count(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        job = CountJob(
            files=tuple(files), index=0, format=format, prefix=model.prefix, context_length=model.context_length,
            findings_key=findings_key,
        )  # fmt: skip
        with _PoolAsks(self._store):
            return await count_file(self._store, job)

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:
        with _PoolAsks(self._store):
            return await StorePlanner(self._store).draw(selection, task_id)


class _PoolAsks:
    """While it is entered, requests count as the pool's."""

    def __init__(self, store: CountingStore) -> None:
        self._store, self._before = store, store.asking

    def __enter__(self) -> None:
        self._store.asking += IN_POOL

    def __exit__(self, *_: object) -> None:
        self._store.asking = self._before


class _CountedWorld(World):
    """A service whose stages are told apart by its bucket."""

    def __init__(self) -> None:
        self.bucket = CountingStore()
        super().__init__(self.bucket)
        tokenizer = tiny_tokenizer()
        self.bucket.objects |= {
            TINY.prefix + "tokenizer.json": tokenizer.tokenizer,
            TINY.prefix + "tokenizer_config.json": tokenizer.config,
            TINY.prefix + "chat_template.jinja": tokenizer.chat_template or b"",
        }
        self.ports |= {"scanner": _Pool(self.bucket), "tokens": _Pool(self.bucket), "planner": _Pool(self.bucket)}

    async def deliver(self, stage: str, *events: Event[Any]) -> Outcome:
        before, self.bucket.asking = self.bucket.asking, stage
        try:
            return await super().deliver(stage, *events)
        finally:
            self.bucket.asking = before


async def _one_task(progress_events: int) -> CountingStore:
    # As a process of the pool asks that has not met this model yet.
    kept_files.clear()
    world = _CountedWorld()
    # As it goes: the user imports with a draft of the form, sees the fee, and submits.
    await world.run(await world.import_dataset("d-1", _LINE, draft=_DRAFT | {"task_id": "t-1"}))
    await world.run(form_event())
    for seq in range(progress_events):
        progress = {"step": seq + 1, "total_steps": progress_events, "loss": 1.0}
        await world.run(*(await world.progress("running", seq, progress=progress)).events)
    output = await world.leave_output()
    await world.run(*(await world.progress("succeeded", progress_events, outputs=[output])).events)
    assert (await world.state("t-1")).phase.value == "Completed"
    world.bucket.counted.pop("tests")
    return world.bucket


def requests(progress_events: int = 0) -> dict[str, dict[str, int]]:
    """Return, for each stage, how often a task makes it ask the bucket for what.

    The task has one dataset of one small file, is priced, trains with so many progress events before its success (each
    folded alone, the dearest way) and exports one model of two files. What the trainer asks is not in it.
    """
    return {stage: dict(counted) for stage, counted in asyncio.run(_one_task(progress_events)).counted.items()}


async def _import_again() -> CountingStore:
    world = _CountedWorld()
    imported = await world.import_dataset("d-1", _LINE, draft=_DRAFT | {"task_id": "t-1"})
    await world.deliver("dataset-validation", imported)
    world.bucket.counted.clear()
    await world.deliver("dataset-validation", replace(imported, id="another event"))
    return world.bucket


def requests_again() -> dict[str, int]:
    """Return how often one more event of the same import makes dataset validation ask the bucket for what."""
    return dict(asyncio.run(_import_again()).counted["dataset-validation"])


def requests_under() -> dict[str, dict[str, int]]:
    """Return, by first folder, how often a task makes all stages ask the bucket for what."""
    return {folder: dict(counted) for folder, counted in asyncio.run(_one_task(0)).under.items()}


def stored() -> dict[str, tuple[int, int]]:
    """Return, by first folder, how many objects a task leaves for good and their bytes.

    What the user uploaded, what the trainer wrote and the model are not in it.
    """
    found: dict[str, tuple[int, int]] = {}
    for key, body in asyncio.run(_one_task(0)).objects.items():
        folder = key.partition("/")[0]
        if folder not in {"active", "uploads", "base-models", "models"} and "/outputs/" not in key:
            objects, size = found.get(folder, (0, 0))
            found[folder] = (objects + 1, size + len(body))
    return found


def writes(counted: dict[str, int]) -> int:
    """Return how many of the requests are priced as writes."""
    return sum(times for method, times in counted.items() if method in WRITES)


def reads(counted: dict[str, int]) -> int:
    """Return how many of the requests are priced as reads."""
    return sum(times for method, times in counted.items() if method in READS)
