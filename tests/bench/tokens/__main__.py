"""``python -m tests.bench.tokens``: Mtok/s on one core, the reference and the fast tokenizer in turns; their ratio.

CPU time of this process, on texts that were not seen before, so that no cache knows them. Tokenizing: the median of
three rounds. Counting: one dataset of some 10 MB, with all that a first count of a large file has: the batches before
the fast tokenizer is loaded, and those that are compared. A figure is only printed where all give the same count.
"""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from time import process_time
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from contracts.dataset import Format
from tests.bench.tokens.corpus import chinese, english, pieces
from tests.tokenizers import qwen_like
from worker.tokens.batching import batched, encode_batch
from worker.tokens.encoder import SampleEncoder
from worker.tokens.fast import load_fast
from worker.tokens.files import TokenizerFiles
from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.samples import Sample
from worker.tokens.tally import Tally
from worker.tokens.tokenizer import TextTokenizer
from worker.trainer.base_models import tokenizer_of

ROUNDS = 3
CHARACTERS = 2_000_000


def main() -> None:
    """Print both tables."""
    tokenizers = {"SmolLM2": tokenizer_of("SmolLM2-135M-Instruct"), "tiny vocabulary, NFC": qwen_like()}
    console = Console()
    console.print(_tokenizing(tokenizers))
    console.print(_counting(tokenizers))


def _tokenizing(tokenizers: dict[str, TokenizerFiles]) -> Table:
    table = _table("Tokenizing alone", "ids only", "with places", "fast, ids only", "fast, with places")
    whole = english(3 * CHARACTERS)
    texts = {
        "English and code, 800 characters": pieces(whole[:CHARACTERS], 800),
        "English and code, 60 characters": pieces(whole[CHARACTERS : 2 * CHARACTERS], 60),
        "Chinese, 300 characters": pieces(chinese(CHARACTERS // 2), 300),
    }
    for name, files in tokenizers.items():
        reference = HuggingFaceTokenizer(files.tokenizer, {})
        fast = load_fast(reference)
        if fast is None:
            sys.exit("the extra fast is not installed")
        runs = [partial(run, it) for it in (reference, fast) for run in (_ids, _places)]
        for kind, every in texts.items():
            _row(table, f"{name}: {kind}", every, runs)
    return table


def _ids(tokenizer: TextTokenizer, texts: list[str]) -> int:
    return sum(map(len, tokenizer.ids(texts)))


def _places(tokenizer: TextTokenizer, texts: list[str]) -> int:
    return sum(len(each.ids) for each in tokenizer.tokenize(texts))


def _counting(tokenizers: dict[str, TokenizerFiles]) -> Table:
    table = _table("Counting a dataset: JSON, template, tokens, spans, sums", "reference", "fast, checked")
    for name, files in tokenizers.items():
        encoder = SampleEncoder(files)
        latin, han = english(14_000_000), chinese(3_000_000)
        kinds: dict[str, tuple[Format, list[dict[str, Any]]]] = {
            "sft, one turn": ("sft", _chats(latin, 250, 1)),
            "sft, one turn, Chinese": ("sft", _chats(han, 100, 1)),
            "sft, six turns": ("sft", _chats(latin, 250, 6)),
            "pretrain": ("pretrain", [{"text": text} for text in pieces(latin, 500)]),
        }
        for kind, (read_as, samples) in kinds.items():
            lines = [json.dumps(sample, ensure_ascii=False).encode() for sample in samples]
            runs = [partial(_count, encoder, read_as, accelerated) for accelerated in (False, True)]
            _row(table, f"{name}: {kind}", lines, runs, rounds=1)
    return table


def _chats(text: str, size: int, turns: int) -> list[dict[str, Any]]:
    texts = iter(pieces(text, size))
    return [
        {"messages": [{"role": role, "content": next(texts)} for _ in range(turns) for role in ("user", "assistant")]}
        for _ in range(len(text) // size // turns // 2)
    ]


def _count(encoder: SampleEncoder, read_as: Format, accelerated: bool, lines: list[bytes]) -> int:
    tally, counting = Tally(None, lambda _: None), encoder.accelerated() if accelerated else encoder
    samples = (Sample(0, number, msgspec.json.decode(line), len(line)) for number, line in enumerate(lines))
    for batch in batched(samples):
        for sample, encoded in zip(batch, encode_batch(counting, read_as, batch), strict=True):
            tally.add(encoded, sample.line)
    return tally.counts().total


def _row(
    table: Table, name: str, every: list[Any], runs: Sequence[Callable[[list[Any]], int]], rounds: int = ROUNDS
) -> None:
    share = len(every) // rounds
    rates: list[list[float]] = [[] for _ in runs]
    for number in range(rounds):
        part, found = every[number * share : (number + 1) * share], set[int]()
        for run, rate in zip(runs, rates, strict=True):
            began = process_time()
            tokens = run(part)
            rate.append(tokens / (process_time() - began) / 1e6)
            found.add(tokens)
        assert len(found) == 1, f"{name}: the counts differ: {found}"
    ratios = [median(one / base for one, base in zip(rate, rates[0], strict=True)) for rate in rates]
    cells = [f"{median(rate):.2f} (x{ratio:.1f})" for rate, ratio in zip(rates, ratios, strict=True)]
    table.add_row(name, *cells)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"{title}: Mtok/s of one core (ratio to the first)")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


if __name__ == "__main__":
    main()
