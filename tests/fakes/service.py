"""The worker's own scan, counter and draw over a fake bucket: the service, but for Kafka and its processes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.dataset import CheckedFile, DatasetFile
from handlers.ports.catalog import ModelEntry
from handlers.validation.report import Report
from tests.fakes.few_samples import PREFERENCES, RANKINGS, SAMPLES, TEXTS
from tests.fakes.store import MemoryStore
from tests.fakes.world import TINY, World, received
from worker.catalog import load_catalog
from worker.scan.conclusion import FileScan, concluded
from worker.scan.parts import Part
from worker.scan.process import ScanJob, scan_part
from worker.tokens.counter import StoreTokenCounter
from worker.trainer.tiny_encoder_tokenizer import tiny_encoder_tokenizer
from worker.trainer.tiny_tokenizer import tiny_tokenizer


class RealScanner:
    """The scan of the worker, in this process."""

    def __init__(self, store: MemoryStore, folder: Path) -> None:
        self._store, self._folder = store, folder

    async def scan(self, files: Sequence[DatasetFile], format: Any, findings_key: str) -> Report:
        scans = []
        for index, file in enumerate(files):
            part = Part(
                file=index,
                format=format,
                findings_path=str(self._folder / f"{index}.ndjson"),
                digests_path=str(self._folder / f"{index}.digests"),
            )
            scanned = await scan_part(self._store, ScanJob(file=file, part=part))
            checked = CheckedFile(uri=file.uri, etag=scanned.etag, size_bytes=scanned.size_bytes, sha256=scanned.sha256)
            scans.append(FileScan(checked=checked, parts=(scanned.part,)))
        found = concluded("digest", format, scans, self._folder)
        await self._store.put(findings_key, b"".join(found.findings()))
        return found.conclusion.report


def world(folder: Path) -> World:
    world = World()
    for name, body in zip(
        ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), tiny_tokenizer(), strict=True
    ):
        world.store.objects[TINY.prefix + name] = body or b""
    world.ports |= {"scanner": RealScanner(world.store, folder), "tokens": StoreTokenCounter(world.store)}
    return world


def world_of_all(folder: Path) -> World:
    """Return a world with the shipped catalogue, and both of its tiny models' tokenizers."""
    service = world(folder)
    for name, body in zip(("tokenizer.json", "tokenizer_config.json"), tiny_encoder_tokenizer()[:2], strict=True):
        service.store.objects[f"base-models/tiny-encoder/1/{name}"] = body
    service.ports["catalog"] = load_catalog()
    return service


def sample(answer: str) -> bytes:
    messages = [{"role": "user", "content": "问题?"}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"


async def imported(world: World, dataset_id: str, *bodies: bytes, **changes: Any) -> list[Any]:
    """Put files into the bucket, and import them as one dataset; return what the service says to that."""
    uris = []
    for number, body in enumerate(bodies):
        world.store.objects[f"uploads/{dataset_id}/{number}.jsonl"] = body
        uris.append({"uri": world.store.uri(f"uploads/{dataset_id}/{number}.jsonl")})
    said = await world.run(await world.import_dataset(dataset_id, None, files=uris, **changes))
    return [received(event).data for event in said]


def ndjson(lines: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def model_for(training_type: str) -> ModelEntry:
    entry = load_catalog().model("tiny-encoder" if training_type == "Embedding" else "tiny", "1")
    assert entry is not None
    return entry


LONG_TEXT = "long " * 600
#: Of each format: lines that are trained on, one that is too long for the model, and one with an error.
LINES: dict[str, list[dict[str, Any]]] = {
    "sft": [*SAMPLES, {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": LONG_TEXT}]}],
    "pretrain": TEXTS,
    "preference": [
        *PREFERENCES,
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "chosen": LONG_TEXT, "rejected": "no"}]},
    ],
    "ranking": [*RANKINGS, {"query": "long", "docs": [{"text": LONG_TEXT, "label": 1}]}],
}
