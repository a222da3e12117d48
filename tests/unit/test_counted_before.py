"""What a dataset that was counted before costs: each file a look, and the rest once."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from contracts.dataset import CheckedFile
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.ports.catalog import ModelEntry
from tests.bench.events.requests import CountingStore
from tests.fakes.store import etag_of
from worker.settings import Settings
from worker.tokens import counter, model_files
from worker.tokens.counter import TemplateTokenCounter
from worker.tokens.files import CONFIG_FILE, TEMPLATE_FILE, TOKENIZER_FILE
from worker.tokens.jobs import SampleJob
from worker.tokens.sampler import sample_dataset
from worker.trainer.tiny_tokenizer import tiny_tokenizer

PREFIX, FINDINGS, FILES = "base-models/tiny/1/", "findings.ndjson", 20
MODEL = ModelEntry(name="tiny", version="1", prefix=PREFIX, context_length=512)
LINE = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}


class Bucket(CountingStore):
    """A bucket with a model, that says what was asked of it and of how many processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.works: list[str] = []
        names = (TOKENIZER_FILE, CONFIG_FILE, TEMPLATE_FILE)
        for name, body in zip(names, tiny_tokenizer(), strict=True):
            self.objects[PREFIX + name] = body or b""
        self.objects[FINDINGS] = b""
        model_files.kept_files.clear()

        def over_bucket(_: Settings, work: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
            self.works.append(work.__name__)

            async def run() -> Any:
                return await work(self, *arguments)

            return asyncio.run(run())

        monkeypatch.setattr(counter, "over_bucket", over_bucket)

    def add(self, number: int) -> CheckedFile:
        body = b"".join(json.dumps(LINE | {"n": number}).encode() + b"\n" for _ in range(2))
        self.objects[f"{number}.jsonl"] = body
        uri, size = self.uri(f"{number}.jsonl"), len(body)
        return CheckedFile(uri=uri, etag=etag_of(body), size_bytes=size, sha256=layout.sha256_hex(body))

    def asked(self) -> dict[str, int]:
        """Return what was asked since the last call."""
        asked = dict(self.counted.pop("tests", Counter[str]()))
        self.works.clear()
        return asked


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    return Bucket(monkeypatch)


async def test_a_dataset_that_was_counted_costs_a_look_a_file_and_the_rest_once(bucket: Bucket) -> None:
    files = [bucket.add(number) for number in range(FILES)]
    finding = Finding(line=1, pointer="", code="invalid-json", severity="error", message="", file=3)
    bucket.objects[FINDINGS] = msgspec.json.encode(finding) + b"\n"
    with ThreadPoolExecutor(1) as pool:
        counting = TemplateTokenCounter(Settings(), pool)
        counts = await counting.count(files, "sft", MODEL, FINDINGS)
        assert counts.samples == 2 * FILES - 1
        assert bucket.works == ["look_up", *["count_file"] * FILES]
        bucket.asked()

        assert await counting.count(files, "sft", MODEL, FINDINGS) == counts
        assert bucket.works == ["look_up"]
        # The tokenizer's three files and the findings; the findings' one chunk.
        assert bucket.asked() == {"head": 3 + 1, "get": 1 + FILES}

        more = [*files, bucket.add(FILES)]
        assert (await counting.count(more, "sft", MODEL, FINDINGS)).samples == counts.samples + 2
        assert bucket.works == ["look_up", "count_file"]


async def test_one_small_file_takes_one_process(bucket: Bucket) -> None:
    with ThreadPoolExecutor(1) as pool:
        counting = TemplateTokenCounter(Settings(), pool)
        await counting.count([bucket.add(0)], "sft", MODEL, FINDINGS)
    assert bucket.works == ["count_file"]


async def test_a_large_file_that_was_counted_waits_behind_no_long_count(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bucket.add(0)
    monkeypatch.setattr(counter, "LONG_BYTES", file.size_bytes)
    with ThreadPoolExecutor(1) as pool:
        counting = TemplateTokenCounter(Settings(), pool)
        counts = await counting.count([file], "sft", MODEL, FINDINGS)
        await counting._long_work._places.acquire()  # as a long count would
        async with asyncio.timeout(60):
            assert await counting.count([file], "sft", MODEL, FINDINGS) == counts


async def test_whether_a_dataset_is_to_be_sampled_is_a_look_a_file_too(bucket: Bucket) -> None:
    files = tuple(bucket.add(number) for number in range(FILES))
    with ThreadPoolExecutor(1) as pool:
        await TemplateTokenCounter(Settings(), pool).count(files, "sft", MODEL, FINDINGS)
    bucket.asked()
    job = SampleJob(
        files=files, samples=2 * FILES, format="sft", prefix=PREFIX, context_length=512, findings_key=FINDINGS
    )
    assert await sample_dataset(bucket, job) is None
    assert bucket.asked() == {"head": 3 + FILES}


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
async def test_a_file_of_a_tokenizer_that_changed_or_is_gone_is_read_again(bucket: Bucket, name: str) -> None:
    before = await model_files.tokenizer_files(bucket, PREFIX)
    bucket.asked()
    assert await model_files.tokenizer_files(bucket, PREFIX) is before
    assert bucket.asked() == {"head": 3}
    bucket.objects[PREFIX + name] += b" "
    assert (await model_files.tokenizer_files(bucket, PREFIX)).digest != before.digest
    if name != "tokenizer.json":
        del bucket.objects[PREFIX + name]
        assert (await model_files.tokenizer_files(bucket, PREFIX)).digest != before.digest


async def test_only_the_tokenizers_used_last_are_kept(bucket: Bucket) -> None:
    for number in range(6):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            bucket.objects[f"base-models/{number}/{name}"] = b"{}"
        await model_files.tokenizer_files(bucket, f"base-models/{number}/")
        await model_files.tokenizer_files(bucket, "base-models/0/")
    kept = [place.split("/")[-2] for place in model_files.kept_files]
    assert kept == ["3", "4", "5", "0"]
