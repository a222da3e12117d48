"""Hugging Face datasets: load_dataset("json") into a cold cache, then the checks by hand.

One line that is not JSON, or one value of another type, ends it all. `check` lets it find out the types, as its
documentation does; `check_declared` names them, which is much faster, and fields that a line lacks come back as null.
"""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

import datasets

from tests.bench.fresh import Cannot
from tests.bench.validate.checks import Score, judge
from tests.bench.validate.result import Format, Result


def check(path: str, format: Format) -> Result:
    with tempfile.TemporaryDirectory() as cache:
        return _judged(iter(_loaded(path, cache, None)), format)


def check_declared(path: str, format: Format) -> Result:
    with tempfile.TemporaryDirectory() as cache:
        return _judged(_by_batches(_loaded(path, cache, _features(format))), format)


def _features(format: Format) -> Any:
    text = datasets.Value("string")
    if format == "pretrain":
        return datasets.Features({"text": text})
    return datasets.Features({"messages": [{"role": text, "content": text, "loss_weight": datasets.Value("float64")}]})


def _loaded(path: str, cache: str, features: Any) -> Any:
    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset("json", data_files=path, split="train", cache_dir=cache, features=features)
    except (ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise Cannot(f"one odd line ends the load, unnamed: {error.__cause__ or error}") from error


def _by_batches(loaded: Any) -> Iterator[Any]:
    """Yield samples from batches of Arrow: four times as fast as one by one."""
    for batch in loaded.with_format("arrow").iter(batch_size=1000):
        yield from batch.to_pylist()


def _judged(samples: Iterator[Any], format: Format) -> Result:
    score, judge_sample = Score(), judge(format)
    for sample in samples:
        verdict = judge_sample(sample, score.patterns)
        score.samples += 1
        if verdict:
            score.add(verdict)
    return score.result()
