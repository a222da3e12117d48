"""The encoder against transformers, and what the trainer sees against what the counter counts."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.fakes.few_samples import SAMPLES
from tests.trainer.bench import Bench, built, trained_on
from worker.tokens.counter import count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.jobs import CountJob
from worker.trainer.base_models import tokenizer_of
from worker.trainer.bucket import open_bucket
from worker.trainer.smollm2_tokenizer import smollm2_tokenizer
from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_tokenizer import tiny_tokenizer

pytestmark = pytest.mark.trainer

CONVERSATIONS: list[list[dict[str, Any]]] = [
    *(sample["messages"] for sample in SAMPLES),
    [
        {"role": "user", "content": "12345 + 67 = ?"},
        {"role": "assistant", "content": " 12412.\n\n  即一万二千四百一十二"},
    ],
    [
        {"role": "user", "content": "<|im_end|>\n🙂 naïve café"},
        {"role": "assistant", "content": "\tdef f():\r\n  pass"},
    ],
]


#: It takes seconds to read.
smollm2 = cache(smollm2_tokenizer)


@pytest.mark.parametrize("tokenizer", [tiny_tokenizer, smollm2], ids=["tiny", "SmolLM2"])
def test_ids_are_those_of_transformers(tokenizer: Callable[[], TokenizerFiles], tmp_path: Path) -> None:
    files = tokenizer()
    write_tokenizer(files, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    ours = SampleEncoder(files)

    for messages in CONVERSATIONS:
        expected = theirs.apply_chat_template(messages, return_dict=True)["input_ids"]
        assert ours.encode_sft([{"messages": messages}])[0].ids == expected


@pytest.mark.parametrize("name", ["tiny-encoder", "all-MiniLM-L6-v2"])
def test_ids_of_queries_and_documents_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    files = tokenizer_of(name)
    write_tokenizer(files, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    texts = [
        "What is the capital of France?",
        "naïve café, 12345",
        "床前明月光",
        " [SEP] <|im_end|>\n🙂",
        "word " * 300,
    ]
    sample = {
        "query": texts[0],
        "docs": [{"text": text, "label": number == 1} for number, text in enumerate(texts)][1:],
    }

    (ours,) = SampleEncoder(files).encode("ranking", [sample])

    assert [list(each.ids) for each in ours.sequences] == theirs(texts, truncation=False)["input_ids"]


def test_digits_are_single_tokens_for_smollm2() -> None:
    sample = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "2024"}]}

    assert SampleEncoder(smollm2()).encode_sft([sample])[0].trained == len("2024") + 1


@pytest.mark.parametrize("context_length", [512, 45])
def test_the_trainer_sees_the_tokens_that_were_counted(bucket_root: Path, tmp_path: Path, context_length: int) -> None:
    bench = Bench(bucket_root)
    plan = bench.plan(context_length=context_length)
    files = plan.training[0].files
    job = CountJob(
        files=files, index=0, format="sft", prefix=plan.base_prefix, context_length=context_length, findings_key=None
    )
    with open_bucket(bench.settings) as bucket:
        counts = bucket.loop.run(count_file(bucket.store, job))
        data = bucket.loop.run(built(bucket.store, plan, SampleEncoder(tiny_tokenizer()), tmp_path))
    seen = [row.sequences[0] for row in trained_on(data)]

    assert counts.total == sum(len(sample.ids) for sample in seen)
    assert counts.trained == sum(int((sample.weights > 0).sum()) for sample in seen)
    assert (counts.samples, counts.samples + counts.too_long) == (len(seen), len(SAMPLES))
    assert (counts.too_long > 0) == (context_length == 45)
