"""Line by line, what is counted is what the trainer sees: byte-level BPE and SentencePiece, tools and reasoning."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from contracts.datasets.findings import Finding
from handlers.planning.plan import PlannedDataset
from tests.tokenizers import converted, qwen_like, unigram
from tests.trainer.bench import Bench, built, trained_on
from worker.tokens.batching import encode_batch
from worker.tokens.counter import count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.jobs import CountJob
from worker.tokens.samples import Sample
from worker.tokens.tally import Tally
from worker.tokens.template import for_template
from worker.tokens.trust import FIRST_FAST
from worker.trainer.bucket import open_bucket
from worker.trainer.tiny import write_tokenizer

pytestmark = pytest.mark.trainer

KINDS: dict[str, Callable[[], TokenizerFiles]] = {
    "byte-level": qwen_like,
    "unigram": unigram,
    "sentencepiece-unigram": lambda: converted("unigram"),
    "sentencepiece-bpe": lambda: converted("bpe"),
}
EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples" / "datasets" / "sft" / "valid"

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "天气预报",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "北京"}'}}
OWN: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "孤灯照不寐?"}, {"role": "assistant", "content": "囍龘🙂多少关心事。"}]},
    {
        "tools": [WEATHER],
        "messages": [
            {"role": "user", "content": "How is the weather in 北京?"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "晴, 23"},
            {"role": "assistant", "content": "It is sunny, 23 degrees.", "loss_weight": 0.5},
        ],
    },
    {
        "messages": [
            {"role": "system", "content": "  Think.\n"},
            {"role": "user", "content": "1 + 1?"},
            {"role": "assistant", "content": "2", "reasoning_content": "先想一想: one and one.\n\nTwo."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "ﬁrst, code"},
            {"role": "assistant", "content": "def f(x):\n\treturn x  # ①", "loss_weight": 0.0},
            {"role": "user", "content": "<|im_end|>more"},
            {"role": "assistant", "content": " 囍\n"},
        ]
    },
]


def lines() -> list[dict[str, Any]]:
    """Return the valid examples of the format, and ours."""
    written = [line for path in sorted(EXAMPLES.glob("*.jsonl")) for line in path.read_text("utf-8-sig").splitlines()]
    return [json.loads(line) for line in written if line.strip()] + OWN


@pytest.fixture(params=KINDS)
def files(request: pytest.FixtureRequest) -> TokenizerFiles:
    return KINDS[request.param]()


def in_bucket(bench: Bench, files: TokenizerFiles, samples: list[dict[str, Any]]) -> PlannedDataset:
    for name, body in zip(("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), files, strict=True):
        bench.put(f"base-models/other/1/{name}", body)
    return bench.dataset(samples=samples)


def test_every_line_counts_what_the_trainer_sees_of_it(tmp_path: Path, files: TokenizerFiles) -> None:
    # So many batches of 64 that the fast tokenizer, where there is one, has its part in it.
    samples = lines() * 20
    assert len(samples) > 64 * (FIRST_FAST + 4)
    bench = Bench(tmp_path / "bucket")
    dataset = in_bucket(bench, files, samples)
    plan = bench.plan(base_prefix="base-models/other/1/", context_length=4096, training=(dataset,))
    counting, counted = SampleEncoder(files).accelerated(), []
    for start in range(0, len(samples), 64):
        batch = [Sample(0, start + at, sample) for at, sample in enumerate(samples[start : start + 64])]
        counted += encode_batch(counting, "sft", batch)

    with open_bucket(bench.settings) as bucket:
        data = bucket.loop.run(built(bucket.store, plan, SampleEncoder(files), tmp_path))
        job = CountJob(
            files=dataset.files, index=0, format="sft", prefix=plan.base_prefix, context_length=4096, findings_key=None
        )
        counts = bucket.loop.run(count_file(bucket.store, job))

    seen = [row.sequences[0] for row in trained_on(data)]
    trained = [int((tokens.weights > 0).sum()) for tokens in seen]
    assert [(each.total, each.trained) for each in counted] == [
        (len(tokens.ids), count) for tokens, count in zip(seen, trained, strict=True)
    ]
    assert (counts.total, counts.trained) == (sum(len(tokens.ids) for tokens in seen), sum(trained))
    assert (counts.samples, counts.too_long) == (len(samples), 0)


def test_what_is_too_long_for_the_counter_is_too_long_for_the_trainer(tmp_path: Path, files: TokenizerFiles) -> None:
    samples = lines()
    encoded = SampleEncoder(files).encode("sft", samples)
    limit = sorted(each.longest for each in encoded)[len(encoded) // 2]
    listed: list[Finding] = []
    tally = Tally(limit, listed.append)
    for number, each in enumerate(encoded, start=1):
        tally.add(each, number)

    bench = Bench(tmp_path / "bucket")
    plan = bench.plan(context_length=limit, training=(in_bucket(bench, files, samples),))
    with open_bucket(bench.settings) as bucket:
        data = bucket.loop.run(built(bucket.store, plan, SampleEncoder(files), tmp_path))

    left_out = {finding.line for finding in listed}
    kept = [each for number, each in enumerate(encoded, start=1) if number not in left_out]
    assert 0 < len(left_out) == tally.counts().too_long
    assert [row.sequences[0].ids.tolist() for row in trained_on(data)] == [list(each.sequences[0].ids) for each in kept]


def test_ids_and_trained_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    files = qwen_like()
    write_tokenizer(files, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    theirs: Any = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)

    for sample in lines():
        (ours,) = SampleEncoder(files).encode_sft([sample])
        expected = theirs.apply_chat_template(
            [for_template(message) for message in sample["messages"]],
            tools=sample.get("tools"),
            return_assistant_tokens_mask=True,
            return_dict=True,
        )
        assert list(ours.ids) == expected["input_ids"]
        # Theirs knows no weights: what we leave out with 0 is an answer for it, too.
        whole = [{**message, "loss_weight": None} for message in sample["messages"]]
        (unweighted,) = SampleEncoder(files).encode_sft([{**sample, "messages": whole}])
        assert [int(weight > 0) for weight in unweighted.weights] == expected["assistant_masks"]
