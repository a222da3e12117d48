"""Counting a dataset's tokens: which lines are read, that the bytes are pinned, and that each file is counted once."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from contracts.dataset import CheckedFile
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.errors import PreconditionFailed
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenCounts
from tests.fakes.store import MemoryStore, etag_of
from worker.cpu import CpuPool
from worker.settings import Settings
from worker.storage.directory import DirectoryStore
from worker.tokens import counter, samples, trust
from worker.tokens.counter import TemplateTokenCounter, count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.jobs import CountJob
from worker.tokens.samples import Sample, UnreadableSample, invalid_lines, read_samples
from worker.tokens.template import ChatTemplateError
from worker.tokens.tokenizer import Tokens
from worker.trainer.tiny_tokenizer import tiny_tokenizer

PREFIX = "base-models/tiny/1/"
FINDINGS = "datasets/d/x/findings.ndjson"
TOKENIZER = tiny_tokenizer()
MODEL = ModelEntry(name="tiny", version="1", prefix=PREFIX, context_length=1024)


def sample(answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "问题?"}, {"role": "assistant", "content": answer}]}


def lines(*answers: str) -> bytes:
    return b"".join(json.dumps(sample(answer), ensure_ascii=False).encode() + b"\n" for answer in answers)


def stored(store: MemoryStore, name: str, body: bytes) -> CheckedFile:
    store.objects[name] = body
    return CheckedFile(uri=store.uri(name), etag=etag_of(body), size_bytes=len(body), sha256=layout.sha256_hex(body))


def note_errors(store: MemoryStore, *findings: Finding) -> None:
    store.objects[FINDINGS] = b"".join(msgspec.json.encode(finding) + b"\n" for finding in findings)


def error(line: int, file: int = 0, severity: Any = "error") -> Finding:
    return Finding(line=line, pointer="", code="invalid-json", severity=severity, message="", file=file)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.objects[PREFIX + "tokenizer.json"] = TOKENIZER.tokenizer
    store.objects[PREFIX + "tokenizer_config.json"] = TOKENIZER.config
    store.objects[PREFIX + "chat_template.jinja"] = TOKENIZER.chat_template or b""
    return store


async def read(store: MemoryStore, files: Sequence[CheckedFile], findings: str | None = None) -> list[Sample]:
    invalid = await invalid_lines(store, findings)
    return [sample async for sample in read_samples(store, files, invalid)]


async def count(
    store: MemoryStore, file: CheckedFile, *, context_length: int = 1024, findings: str | None = None
) -> TokenCounts:
    job = CountJob(
        files=(file,), index=0, format="sft", prefix=PREFIX, context_length=context_length, findings_key=findings
    )
    return await count_file(store, job)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
async def test_samples_are_the_same_wherever_the_reads_cut(
    store: MemoryStore, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "CHUNK_BYTES", max(chunk, 3))
    body = b"\xef\xbb\xbf" + lines("一", "two").replace(b"\n", b"\r\n") + b"\n  \n" + lines("three")[:-1]

    found = await read(store, [stored(store, "a.jsonl", body)])

    assert [(one.line, one.data["messages"][1]["content"]) for one in found] == [(1, "一"), (2, "two"), (5, "three")]


async def test_lines_with_an_error_are_left_out_and_others_are_not(store: MemoryStore) -> None:
    first = stored(store, "a.jsonl", lines("a") + b"{broken\n" + lines("c"))
    second = stored(store, "b.jsonl", lines("x", "y"))
    note_errors(store, error(2), error(1, file=1), error(3, severity="warning"))

    found = await read(store, [first, second], FINDINGS)

    assert [(one.file, one.line) for one in found] == [(0, 1), (0, 3), (1, 2)]


async def test_an_invalid_line_may_be_longer_than_memory_should_hold(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "CHUNK_BYTES", 64)
    monkeypatch.setattr(samples, "MAX_LINE_BYTES", 200)
    file = stored(store, "a.jsonl", b"x" * 5000 + b"\n" + lines("ok"))
    note_errors(store, error(1))

    assert [one.line for one in await read(store, [file], FINDINGS)] == [2]
    with pytest.raises(UnreadableSample, match="line 1: longer than 200 bytes"):
        await read(store, [file])


@pytest.mark.parametrize("line", [b"{broken", b"[1]", b'{"a": "\xff"}', b"[" * 100_000])
async def test_a_line_that_is_no_sample_after_all_is_named(store: MemoryStore, line: bytes) -> None:
    file = stored(store, "a.jsonl", lines("a") + line + b"\n")

    with pytest.raises(UnreadableSample, match=r"a\.jsonl, line 2"):
        await read(store, [file])


async def test_bytes_that_changed_since_validation_are_never_read(store: MemoryStore) -> None:
    file = stored(store, "a.jsonl", lines("a"))
    store.objects["a.jsonl"] = lines("b")

    with pytest.raises(PreconditionFailed):
        await read(store, [file])


@pytest.mark.parametrize("gone", ["a.jsonl", FINDINGS])
async def test_a_file_that_is_gone_is_said(store: MemoryStore, gone: str) -> None:
    file = stored(store, "a.jsonl", lines("a"))
    note_errors(store)
    del store.objects[gone]

    with pytest.raises(FileNotFoundError, match=gone):
        await read(store, [file], FINDINGS)


async def test_counts_are_what_the_encoder_says(store: MemoryStore) -> None:
    answers = ("short", "春眠不觉晓" * 3, "x" * 70)
    encoded = SampleEncoder(TOKENIZER).encode_sft([sample(answer) for answer in answers])
    lengths = [len(one.ids) for one in encoded]

    counts = await count(store, stored(store, "a.jsonl", lines(*answers)))

    assert counts.samples == 3
    assert counts.total == sum(lengths)
    assert counts.trained == sum(one.trained for one in encoded) > 0
    assert counts.masked == counts.total - counts.trained
    assert counts.longest == max(lengths)
    assert sum(counts.histogram.values()) == 3
    assert all(bound & (bound - 1) == 0 for bound in counts.histogram)


async def test_a_sample_longer_than_the_context_is_counted_apart(store: MemoryStore) -> None:
    file = stored(store, "a.jsonl", lines("short", "long " * 200))

    whole, cut = await count(store, file), await count(store, file, context_length=64)

    assert (whole.samples, whole.too_long) == (2, 0)
    assert (cut.samples, cut.too_long) == (1, 1)
    assert cut.total == cut.longest <= 64


async def test_a_file_is_counted_once_for_a_tokenizer_wherever_it_lies(store: MemoryStore) -> None:
    counts = await count(store, stored(store, "a.jsonl", lines("a", "b")))
    key = store.puts[-1]
    store.objects[key] = msgspec.json.encode(msgspec.structs.replace(counts, samples=77))

    assert (await count(store, stored(store, "copy/of/a.jsonl", lines("a", "b")))).samples == 77
    note_errors(store, error(1))
    assert (await count(store, stored(store, "a.jsonl", lines("a", "b")), findings=FINDINGS)).samples == 1
    store.objects[PREFIX + "tokenizer_config.json"] += b" "
    assert (await count(store, stored(store, "a.jsonl", lines("a", "b")))).samples == 2


async def test_what_is_too_long_is_listed_with_its_line_wherever_the_bytes_lie(store: MemoryStore) -> None:
    body = lines("short", "long " * 200, "short", "longer " * 300)
    for name in ("a.jsonl", "copy/of/a.jsonl"):
        counts = await count(store, stored(store, name, body), context_length=64)
        (left_out,) = counts.left_out
        assert (left_out.file, left_out.samples) == (store.uri(name), 2)
        listed = store.objects[store.key(left_out.findings_uri)].splitlines()
        findings = [msgspec.json.decode(line, type=Finding) for line in listed]
        assert [(each.line, each.code, each.severity) for each in findings] == [
            (2, "sample-too-long", "error"),
            (4, "sample-too-long", "error"),
        ]
        assert all("context has 64" in each.message for each in findings)
    assert (await count(store, stored(store, "a.jsonl", body), context_length=4096)).left_out == ()


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("preference", {"messages": [{"role": "user", "content": "a"},
                                     {"role": "assistant", "chosen": "b", "rejected": "c"}]}),
        ("ranking", {"query": "a", "docs": [{"text": "b", "label": 1}]}),
        ("pretrain", {"text": "春眠不觉晓"}),
    ],
)  # fmt: skip
async def test_every_format_is_counted(store: MemoryStore, format: Any, line: dict[str, Any]) -> None:
    file = stored(store, "a.jsonl", (json.dumps(line) + "\n").encode() * 3)
    job = CountJob(files=(file,), index=0, format=format, prefix=PREFIX, context_length=1024, findings_key=None)

    counts = await count_file(store, job)

    (encoded,) = SampleEncoder(TOKENIZER).encode(format, [line])
    assert (counts.samples, counts.total, counts.trained) == (3, 3 * encoded.total, 3 * encoded.trained)
    assert counts.longest == encoded.longest


async def test_a_file_that_is_wrong_as_a_whole_has_no_samples(store: MemoryStore) -> None:
    files = [stored(store, name, lines("a", "b")) for name in ("a.jsonl", "b.jsonl")]
    note_errors(store, msgspec.structs.replace(error(1), code="wrong-format"))

    assert [(each.file, each.line) for each in await read(store, files, FINDINGS)] == [(1, 1), (1, 2)]
    assert (await count(store, files[0], findings=FINDINGS)).samples == 0
    assert (await count(store, files[0])).samples == 2


async def test_a_file_is_counted_again_where_the_fast_tokenizer_fails_late(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []

    class Failing:
        def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
            # Past the hard texts, and past the first batches that are compared.
            loaded.append(len(texts))
            if len(loaded) > 7:
                raise RuntimeError
            return list(SampleEncoder(TOKENIZER).tokenizer.tokenize(texts))

    monkeypatch.setattr(trust, "load_fast", lambda _: Failing())
    counter.encoder_for.cache_clear()
    answers = [f"answer {number} " + "long " * (number % 90) for number in range(64 * 16)]

    with capture_logs() as logs:
        counts = await count(store, stored(store, "a.jsonl", lines(*answers)), context_length=80)

    encoded = SampleEncoder(TOKENIZER).encode("sft", [sample(answer) for answer in answers])
    kept = [each for each in encoded if each.longest <= 80]
    assert (counts.samples, counts.total) == (len(kept), sum(each.total for each in kept))
    listed = store.objects[store.key(counts.left_out[0].findings_uri)].splitlines()
    assert len(listed) == counts.too_long == len(answers) - len(kept)
    assert [entry["event"] for entry in logs] == ["tokenizer.distrusted"]
    counter.encoder_for.cache_clear()


async def test_a_sample_the_template_refuses_is_named_by_its_line(store: MemoryStore) -> None:
    store.objects[PREFIX + "chat_template.jinja"] = (
        b"{% if messages[0].role == 'assistant' %}{{ raise_exception('users begin') }}{% endif %}"
        b"{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    single = json.dumps({"messages": [{"role": "assistant", "content": "a"}]}).encode()
    file = stored(store, "a.jsonl", lines("fine") + b"\n" + single)

    with pytest.raises(ChatTemplateError, match=r"file 0, line 3: .*users begin"):
        await count(store, file)


async def test_a_base_model_that_is_not_in_the_bucket_is_a_lookup_error(store: MemoryStore) -> None:
    del store.objects[PREFIX + "tokenizer.json"]

    with pytest.raises(LookupError, match=PREFIX):
        await count(store, stored(store, "a.jsonl", lines("a")))


async def _in_directory(root: Path) -> tuple[Settings, list[CheckedFile]]:
    store = DirectoryStore(root)
    for name, body in zip(("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), TOKENIZER, strict=True):
        await store.put(PREFIX + name, body or b"")
    files = []
    for name, body in (("a.jsonl", lines("a", "b")), ("b.jsonl", lines("诗"))):
        etag = await store.put(name, body)
        digest = layout.sha256_hex(body)
        files.append(CheckedFile(uri=store.uri(name), etag=etag, size_bytes=len(body), sha256=digest))
    return Settings(storage_url=root.as_uri()), files


async def test_files_are_counted_side_by_side_and_added_up(tmp_path: Path) -> None:
    settings, files = await _in_directory(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        counting = TemplateTokenCounter(settings, pool)

        both = await counting.count(files, "sft", MODEL)
        each = [await counting.count([file], "sft", MODEL) for file in files]

    assert (both.samples, both.total) == (3, sum(one.total for one in each))
    assert both.longest == max(one.longest for one in each)


async def test_counting_runs_in_a_spawned_process_and_its_errors_come_back(tmp_path: Path) -> None:
    settings, files = await _in_directory(tmp_path)
    pool = CpuPool(1)
    try:
        counting = TemplateTokenCounter(settings, pool)
        assert (await counting.count(files, "sft", MODEL)).samples == 3
        with pytest.raises(LookupError, match="elsewhere"):
            await counting.count(files, "sft", msgspec.structs.replace(MODEL, prefix="elsewhere/"))
    finally:
        pool.shutdown()
