"""Sampling tokens: every line belongs to one block, and the interval holds the count as often as it says."""

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import CheckedFile, Format
from contracts.datasets.findings import Finding
from handlers import layout
from handlers.errors import PreconditionFailed
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenCounts, TokenRange, Unsampled
from tests.fakes.steps import steps_of
from tests.fakes.store import MemoryStore, etag_of
from worker.settings import Settings
from worker.tokens import ratio, sampler
from worker.tokens.blocks import blocks_of, drawn, read_block
from worker.tokens.counter import count_file
from worker.tokens.jobs import SampleJob
from worker.tokens.ratio import Stratum, interval
from worker.tokens.sampler import BlockSampler, sample_dataset
from worker.tokens.tally import merged
from worker.trainer.tiny_tokenizer import tiny_tokenizer

PREFIX = "base-models/tiny/1/"
FINDINGS = "findings.ndjson"
MODEL = ModelEntry(name="tiny", version="1", prefix=PREFIX, context_length=512)
WORDS = ["river", "the sea", "多少关心事", "seven days", "router", "restart", "书灰到夜深", "fox", "1 + 2"]


def conversation(chance: random.Random, words: Sequence[str] = WORDS) -> dict[str, Any]:
    answer = " ".join(chance.choices(words, k=chance.randint(1, 60)))
    return {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]}


def ndjson(samples: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in samples)


def stored(store: MemoryStore, name: str, body: bytes) -> CheckedFile:
    store.objects[name] = body
    return CheckedFile(uri=store.uri(name), etag=etag_of(body), size_bytes=len(body), sha256=layout.sha256_hex(body))


class Dataset:
    """A dataset in a bucket with a tokenizer: two files, one of which is Chinese."""

    def __init__(self, samples: int = 400, format: Format = "sft", seed: int = 1) -> None:
        self.store = MemoryStore()
        self.format = format
        for name, body in zip(
            ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), tiny_tokenizer(), strict=True
        ):
            self.store.objects[PREFIX + name] = body or b""
        self.store.objects[FINDINGS] = b""
        chance = random.Random(seed)  # noqa: S311 - data of a test
        self.samples = [conversation(chance) for _ in range(samples)]
        self.samples += [conversation(chance, ["多少关心事", "书灰到夜深"]) for _ in range(samples // 2)]
        self.files: tuple[CheckedFile, ...] = (
            stored(self.store, "a.jsonl", ndjson(self.samples[:samples])),
            stored(self.store, "b.jsonl", ndjson(self.samples[samples:])),
        )

    @property
    def job(self) -> SampleJob:
        return SampleJob(
            files=self.files, samples=len(self.samples), format=self.format, prefix=PREFIX, context_length=512,
            findings_key=FINDINGS,
        )  # fmt: skip

    async def counts(self) -> TokenCounts:
        return merged([await count_file(self.store, job) for job in self.job.counts()])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_BLOCK_BYTES", 1024)
    monkeypatch.setattr(sampler, "_SAMPLE_BYTES", 80 << 10)


# --- blocks --------------------------------------------------------------------------------------------------

BODIES = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")), max_size=12).map(b"\n".join)


@given(BODIES, st.integers(1, 50))
def test_every_byte_is_in_one_block_and_every_line_in_the_one_it_begins_in(body: bytes, block_bytes: int) -> None:
    store = MemoryStore()
    file = stored(store, "a.jsonl", body)

    async def read() -> None:
        blocks = [await read_block(store, file, block_bytes, number) for number in range(blocks_of(file, block_bytes))]
        assert b"".join(block.body for block in blocks) == body
        begins = 0
        for line in body.splitlines(keepends=True) if b"\r" not in body else []:
            assert line in blocks[begins // block_bytes].body
            begins += len(line)

    steps_of(read())


async def test_a_block_is_of_the_bytes_that_were_validated() -> None:
    store = MemoryStore()
    file = stored(store, "a.jsonl", b"{}\n" * 10)
    store.objects["a.jsonl"] = b"[]\n" * 10
    with pytest.raises(PreconditionFailed):
        await read_block(store, file, 4, 1)
    del store.objects["a.jsonl"]
    with pytest.raises(FileNotFoundError):
        await read_block(store, file, 4, 1)


def test_the_same_bytes_are_drawn_alike_and_others_otherwise() -> None:
    file = CheckedFile(uri="u", etag="e", size_bytes=100_000, sha256="ab")
    other = msgspec.structs.replace(file, sha256="cd")
    assert drawn(file, 10, 20) == drawn(msgspec.structs.replace(file, uri="elsewhere"), 10, 20)
    assert drawn(file, 10, 20) != drawn(other, 10, 20)
    assert drawn(file, 10_000, 20) == list(range(10))


# --- the formula ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freedom", "quantile"), [(10, 4.1437), (15, 3.7328), (30, 3.3852), (120, 3.1595)])
def test_the_quantile_is_student_s(freedom: int, quantile: float) -> None:
    assert ratio._student(freedom) == pytest.approx(quantile, rel=5e-3)


def population(chance: random.Random, blocks: int, tokens_a_byte: float, odd: float) -> list[tuple[int, int]]:
    """Return (bytes, tokens) of blocks, of which a share is of another kind: three times as many tokens."""
    sizes = [max(0, round(chance.gauss(8000, 3000))) for _ in range(blocks)]
    rates = [tokens_a_byte * chance.lognormvariate(0, 0.15) * (3 if chance.random() < odd else 1) for _ in sizes]
    return [(size, round(size * rate)) for size, rate in zip(sizes, rates, strict=True)]


@pytest.mark.parametrize("odd", [0.0, 0.02, 0.1])
def test_the_interval_holds_the_sum_as_often_as_it_says_and_is_not_wide(odd: float) -> None:
    chance = random.Random(7)  # noqa: S311 - data of a test
    strata = [population(chance, 3000, 0.25, odd), population(chance, 600, 0.7, odd)]
    size = sum(x for stratum in strata for x, _ in stratum)
    true = sum(y for stratum in strata for _, y in stratum)
    held = 0
    for _ in range(300):
        found = interval([Stratum(len(each), chance.sample(each, len(each) // 7)) for each in strata], size)
        assert found is not None
        low, high = found
        held += low <= true <= high
        assert 0 <= low < high < 1.3 * low
    assert held >= 0.98 * 300


@given(st.lists(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1), min_size=1, max_size=4))
def test_where_everything_was_drawn_the_interval_is_the_sum(strata: list[list[tuple[int, int]]]) -> None:
    size = sum(x for stratum in strata for x, _ in stratum)
    true = sum(y for stratum in strata for _, y in stratum)
    assert interval([Stratum(len(each), each) for each in strata], size) == (true, true)


def test_where_nothing_with_a_size_was_drawn_nothing_is_said() -> None:
    assert interval([Stratum(9, [(0, 0), (0, 0)])], 100) is None


# --- datasets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_the_range_holds_the_exact_count_from_a_part_of_the_lines(seed: int) -> None:
    dataset = Dataset(seed=seed)
    found = await sample_dataset(dataset.store, dataset.job)
    counts = await dataset.counts()
    assert isinstance(found, TokenRange)
    assert found.total[0] <= counts.total <= found.total[1]
    assert found.total[1] < 1.6 * found.total[0]
    assert 0 < found.sampled < counts.samples / 2


async def test_it_is_the_same_every_time_and_on_every_machine() -> None:
    dataset, other = Dataset(), Dataset()
    other.files = tuple(
        stored(other.store, f"elsewhere/{number}", dataset.store.objects[name])
        for number, name in enumerate(("a.jsonl", "b.jsonl"))
    )
    assert await sample_dataset(dataset.store, dataset.job) == await sample_dataset(other.store, other.job)


async def test_of_so_small_a_dataset_that_all_of_it_is_drawn_it_is_the_count() -> None:
    dataset = Dataset(samples=20)
    found = await sample_dataset(dataset.store, dataset.job)
    counts = await dataset.counts()
    assert isinstance(found, TokenRange)
    assert (found.total, found.sampled) == ((counts.total, counts.total), counts.samples)


async def test_what_is_too_long_for_the_model_counts_for_nothing_as_in_the_count() -> None:
    dataset = Dataset(samples=20)
    long = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "river " * 600}]}
    before = (await Dataset(samples=20).counts()).too_long
    body = dataset.store.objects["b.jsonl"] + ndjson([long])
    dataset.files = (dataset.files[0], stored(dataset.store, "b.jsonl", body))
    found = await sample_dataset(dataset.store, dataset.job)
    counts = await dataset.counts()
    assert counts.too_long > before
    assert isinstance(found, TokenRange)
    assert found.total == (counts.total, counts.total)


async def test_of_preferences_the_extremes_have_a_range_too() -> None:
    dataset = Dataset(samples=20, format="preference")
    candidates = [{"text": "sea", "score": 1}, {"text": "river " * 9, "score": 0.5}, {"text": "fox", "score": 0}]
    question = {"role": "user", "content": "?"}
    dataset.samples = [{"messages": [question, {"role": "assistant", "content": candidates}]}] * 60
    dataset.files = (stored(dataset.store, "a.jsonl", ndjson(dataset.samples)),)
    found = await sample_dataset(dataset.store, dataset.job)
    counts = await dataset.counts()
    assert isinstance(found, TokenRange)
    assert found.total_of_extremes[0] <= counts.total_of_extremes <= found.total_of_extremes[1]
    assert found.total_of_extremes[1] < found.total[0]


async def test_what_was_counted_before_is_not_sampled() -> None:
    dataset = Dataset()
    await dataset.counts()
    assert await sample_dataset(dataset.store, dataset.job) is None


@pytest.mark.parametrize(("severity", "sampled"), [("error", False), ("warning", True)])
async def test_where_lines_are_invalid_nothing_is_sampled(severity: Any, *, sampled: bool) -> None:
    dataset = Dataset()
    finding = Finding(line=3, pointer="", code="invalid-json", severity=severity, message="")
    dataset.store.objects[FINDINGS] = msgspec.json.encode(finding) + b"\n"
    found = await sample_dataset(dataset.store, dataset.job)
    assert isinstance(found, TokenRange if sampled else Unsampled)


async def test_very_long_lines_are_not_sampled() -> None:
    dataset = Dataset()
    few = msgspec.structs.replace(dataset.job, samples=2)
    assert await sample_dataset(dataset.store, few) == Unsampled()


async def test_a_sample_that_the_template_refuses_is_left_to_the_count_which_knows_its_line() -> None:
    dataset = Dataset()
    dataset.store.objects[PREFIX + "chat_template.jinja"] = b"{{ raise_exception('no') }}"
    assert await sample_dataset(dataset.store, dataset.job) == Unsampled()


async def test_without_the_model_s_tokenizer_it_says_so() -> None:
    dataset = Dataset()
    del dataset.store.objects[PREFIX + "tokenizer.json"]
    with pytest.raises(LookupError):
        await sample_dataset(dataset.store, dataset.job)


async def test_a_small_dataset_costs_no_process() -> None:
    dataset = Dataset(samples=20)
    pool = ThreadPoolExecutor(1)
    pool.shutdown()  # Whatever is given to it raises.
    sizes = [sum(file.size_bytes for file in dataset.files) + more for more in (1, 0)]
    small, large = [BlockSampler(Settings(estimate_sample_bytes=size), pool) for size in sizes]
    assert await small.sample(dataset.files, "sft", MODEL, FINDINGS, 30) is None
    with pytest.raises(RuntimeError):
        await large.sample(dataset.files, "sft", MODEL, FINDINGS, 30)
