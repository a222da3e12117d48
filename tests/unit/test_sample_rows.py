"""The rows that a count leaves of each sample: all lines, in order, with tokens, state and what they say."""

import json
from typing import Any

import numpy as np
import pytest

from contracts.dataset import CheckedFile
from handlers import layout
from handlers.planning.sample_rows import NO_CONTENT, ROW, ROW_FIELDS, State, content_digest
from handlers.ports.tokens import TokenCounts
from tests.fakes.store import MemoryStore, etag_of
from worker.tokens.counter import count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.jobs import CountJob
from worker.trainer.tiny_tokenizer import tiny_tokenizer

PREFIX = "base-models/tiny/1/"
TOKENIZER = tiny_tokenizer()
LONG = "long " * 300


def sft(answer: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}], **fields}


async def counted(format: Any, body: bytes, invalid: list[int]) -> tuple[TokenCounts, list[tuple[Any, ...]]]:
    """Return a file's counts and its rows."""
    store = MemoryStore()
    for name, part in zip(("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), TOKENIZER, strict=True):
        store.objects[PREFIX + name] = part or b""
    store.objects["a.jsonl"] = body
    findings = [{"line": line, "severity": "error", "code": "invalid-json"} for line in invalid]
    store.objects["findings"] = b"".join(json.dumps(each).encode() + b"\n" for each in findings)
    file = CheckedFile(
        uri=store.uri("a.jsonl"), etag=etag_of(body), size_bytes=len(body), sha256=layout.sha256_hex(body)
    )
    job = CountJob(
        files=(file,), index=0, format=format, prefix=PREFIX, context_length=256, findings_key="findings"
    )  # fmt: skip
    counts = await count_file(store, job)
    assert await count_file(store, job) == counts
    (table,) = counts.tables
    return counts, list(ROW.iter_unpack(store.objects[table]))


def ndjson(*lines: Any) -> bytes:
    return b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)


async def test_every_line_that_is_no_blank_has_a_row_in_order() -> None:
    body = ndjson(b"{\n", sft("one"), b"\n", sft(LONG), b"{\n", b"{\n", sft("two words"), b"{\n")
    counts, rows = await counted("sft", body, invalid=[8, 5, 6, 1, 5])

    assert [(line, State(state)) for _, line, _, _, state in rows] == [
        (1, State.INVALID), (2, State.KEPT), (4, State.TOO_LONG), (5, State.INVALID), (6, State.INVALID),
        (7, State.KEPT), (8, State.INVALID),
    ]  # fmt: skip
    lengths = [each.total for each in SampleEncoder(TOKENIZER).encode("sft", [sft("one"), sft(LONG), sft("two words")])]
    assert [tokens for _, _, tokens, _, state in rows if state != State.INVALID] == lengths
    assert all(content == NO_CONTENT for content, *_, state in rows if state == State.INVALID)
    kept = [tokens for _, _, tokens, _, state in rows if state == State.KEPT]
    assert (counts.samples, counts.total, counts.too_long) == (len(kept), sum(kept), 1)


async def test_of_a_preference_the_extremes_are_kept_too() -> None:
    candidates = [{"text": "a", "score": 0.1}, {"text": "b b b", "score": 0.5}, {"text": "c c", "score": 0.9}]
    sample = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": candidates}]}
    counts, ((_, _, tokens, extremes, _),) = await counted("preference", ndjson(sample), invalid=[])

    assert (tokens, extremes) == (counts.total, counts.total_of_extremes)
    assert extremes < tokens


def test_rows_are_the_same_for_numpy() -> None:
    (row,) = np.frombuffer(ROW.pack(bytes(range(16)), 1, 2, 3, 4), np.dtype(ROW_FIELDS))

    assert (row["line"], row["tokens"], row["extremes"], row["state"]) == (1, 2, 3, 4)
    assert row["high"] == int.from_bytes(bytes(range(8)), "little")
    assert row["low"] == int.from_bytes(bytes(range(8, 16)), "little")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (dict(reversed(sft("a", tools=[]).items())), True),
        (sft("a", tools=[], id=17, source="somewhere"), True),
        (sft("a", tools=[], thinking=None), True),
        (sft("a"), False),
        (sft("a ", tools=[]), False),
        (sft("a", tools=[], thinking=True), False),
    ],
)
def test_what_says_the_same_has_one_digest(other: dict[str, Any], *, same: bool) -> None:
    digests = {content_digest("sft", sft("a", tools=[])), content_digest("sft", other)}

    assert len(digests) == (1 if same else 2)


def test_a_digest_is_the_same_on_any_machine() -> None:
    assert content_digest("pretrain", {"text": "春", "n": 1}).hex() == "73228152e0b50a9094c765bfb30da806"
