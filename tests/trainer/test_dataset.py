"""Which samples are trained on, how often, and which are held out."""

import asyncio
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.few_samples import SAMPLES
from tests.trainer.bench import Bench, built
from tests.trainer.formats import plan_for
from worker.tokens.encoder import SampleEncoder
from worker.trainer.dataset import Datasets, EpochSampler
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.trainer.token_file import Samples

pytestmark = pytest.mark.trainer


def build(root: Path, folder: Path, **plan: Any) -> Datasets:
    bench = Bench(root)
    encoder = SampleEncoder(tiny_tokenizer())
    return asyncio.run(built(bench.store, bench.plan(**plan), encoder, folder))


def contents(data: Datasets, order: Any) -> list[tuple[int, ...]]:
    return [tuple(row.sequences[0].ids.tolist()) for row in Samples(data.reader, order)]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, 6),
        ({"multiplier": 2.5}, 15),
        ({"multiplier": 0.5}, 3),
        ({"multiplier": 0.01}, 1),
        ({"sample_count": 4}, 4),
        ({"sample_count": 13}, 13),
    ],
)
def test_samples_are_trained_on_as_often_as_the_plan_says(
    bucket_root: Path, tmp_path: Path, fields: dict[str, Any], size: int
) -> None:
    order = build(bucket_root, tmp_path, training=(Bench(bucket_root).dataset(**fields),)).training.tolist()

    assert len(order) == size
    counts = Counter(order)
    assert max(counts.values()) - min(counts[number] for number in range(len(counts))) <= 1
    # Whole passes first, each in the order of the files.
    passes = [order[start : start + len(counts)] for start in range(0, size, len(counts))]
    assert all(each == sorted(each) for each in passes)


def test_what_is_held_out_is_not_trained_on_and_not_multiplied(bucket_root: Path, tmp_path: Path) -> None:
    many = [
        {"messages": [{"role": "user", "content": f"{n % 20}"}, {"role": "assistant", "content": f"{n % 20}"}]}
        for n in range(60)
    ]
    dataset = Bench(bucket_root).dataset(samples=many, multiplier=3.0)

    data = build(bucket_root, tmp_path, training=(dataset,), validation_percent=40)

    training, validation = contents(data, data.training), contents(data, data.validation)
    assert not set(training) & set(validation)
    assert len(training) == 3 * (60 - len(validation))
    assert all(validation.count(sample) == 3 for sample in validation)


def test_datasets_follow_each_other_and_validation_sets_are_apart(bucket_root: Path, tmp_path: Path) -> None:
    bench = Bench(bucket_root)
    first = bench.dataset("first", SAMPLES[:2], multiplier=2.0)
    second = bench.dataset("second", SAMPLES[2:3])
    held = bench.dataset("held", SAMPLES[3:5])

    data = build(bucket_root, tmp_path, training=(first, second), validation=(held,))

    one, two, three = (tuple(each.ids) for each in SampleEncoder(tiny_tokenizer()).encode_sft(SAMPLES[:3]))
    assert contents(data, data.training) == [one, two, one, two, three]
    assert len(data.validation) == 2


def test_lines_with_an_error_are_not_trained_on(bucket_root: Path, tmp_path: Path) -> None:
    bench = Bench(bucket_root)
    bench.put("findings.ndjson", b'{"line":1,"pointer":"","code":"x","severity":"error","message":""}\n')

    data = build(bucket_root, tmp_path, training=(bench.dataset(findings_key="findings.ndjson"),))

    assert len(data.training) == len(SAMPLES) - 1


def test_memory_does_not_grow_with_the_dataset(
    bucket_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.tokens.samples.CHUNK_BYTES", 1 << 16)
    bench, encoder = Bench(bucket_root), SampleEncoder(tiny_tokenizer())

    def peak(samples: int) -> int:
        plan = plan_for(bench, "Pretrain", training=(bench.dataset(samples=[{"text": "quick fox " * 40}] * samples),))
        tracemalloc.start()
        data = asyncio.run(built(bench.store, plan, encoder, tmp_path))
        for _ in EpochSampler(len(data.training), 0, shuffle=True):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)  # what is loaded but once
    small, large = peak(1_000), peak(5_000)

    # A sample of 400 bytes and 120 tokens takes a few numbers: its places in orders.
    assert (large - small) / 4_000 < 100


def test_an_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int, *, shuffle: bool = True) -> list[int]:
        sampler = EpochSampler(50, seed, shuffle=shuffle)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert sorted(order(1, 0)) == list(range(50))
    assert len({tuple(order(1, 0)), tuple(order(1, 1)), tuple(order(2, 5))}) == 3
    assert order(1, 3, shuffle=False) == list(range(50))
    assert order(2**63 - 1, 7)
