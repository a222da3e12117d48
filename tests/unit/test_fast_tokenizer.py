"""The fast tokenizer gives what the reference gives, to the token and the span; where it does not, it is not used."""

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs
from tokenizers import AddedToken, Tokenizer

from tests.tokenizers import converted, files_of, qwen_like, unigram
from worker.tokens import trust
from worker.tokens.encoder import SampleEncoder
from worker.tokens.fast import FastTokenizer, FastTokens, load_fast
from worker.tokens.files import TokenizerFiles
from worker.tokens.hard_texts import hard_texts
from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.tokenizer import TextTokenizer, Tokens
from worker.tokens.trust import FIRST_FAST, Distrusted, TrustedTokenizer, load_trusted
from worker.trainer.tiny_tokenizer import tiny_tokenizer

pytest.importorskip("splintr", reason="the extra fast is not installed")


def reference_of(files: TokenizerFiles) -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer(files.tokenizer, {})


def fast_of(files: TokenizerFiles) -> FastTokenizer:
    fast = load_fast(reference_of(files))
    assert fast is not None
    return fast


def swallowing() -> TokenizerFiles:
    tokenizer = Tokenizer.from_buffer(qwen_like().tokenizer)
    tokenizer.add_tokens([AddedToken("<|assistant|>", special=True, normalized=False, rstrip=True)])
    return files_of(tokenizer)


BYTE_LEVEL: dict[str, Callable[[], TokenizerFiles]] = {
    "tiny": tiny_tokenizer,
    "qwen-like": qwen_like,
    "swallowing": swallowing,
}


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_ids_and_every_span_are_those_of_the_reference(name: str) -> None:
    files = BYTE_LEVEL[name]()
    reference, fast = reference_of(files), fast_of(files)
    texts = hard_texts(list(reference.added.values())) + _mixed(2000)

    expected, found = reference.tokenize(texts), fast.tokenize(texts)

    draw = random.Random(7)  # noqa: S311 - test data
    for text, one, other in zip(texts, expected, found, strict=True):
        assert list(other.ids) == one.ids, text
        cuts = sorted(draw.randrange(len(text) + 1) for _ in range(12))
        for start, end in pairwise(cuts):
            if start < end:
                assert other.within(start, end) == one.within(start, end), (text, start, end)
    assert [list(ids) for ids in fast.ids(texts)] == reference.ids(texts)


def _mixed(count: int) -> list[str]:
    """Return texts made of pieces of the hard ones, and of any character there is."""
    draw = random.Random(3)  # noqa: S311 - test data
    pieces = hard_texts(["<|im_start|>", "<think>"])
    planes = [(0, 0x7F), (0x80, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0x1FFFF), (0x20000, 0x10FFFF)]

    def piece() -> str:
        if draw.random() < 0.3:
            return chr(draw.randint(*draw.choice(planes)))
        whole = draw.choice(pieces)
        start = draw.randrange(len(whole) + 1)
        return whole[start : start + draw.randrange(12)]

    return ["".join(piece() for _ in range(draw.randrange(9))) for _ in range(count)]


def test_a_text_that_would_be_normalised_is_left_to_the_reference() -> None:
    reference, fast = reference_of(qwen_like()), fast_of(qwen_like())
    (found,) = fast.tokenize(["cafe\u0301"])

    assert list(found.ids) == reference.ids(["caf\u00e9"])[0]


@pytest.mark.parametrize("files", [unigram, lambda: converted("unigram"), lambda: converted("bpe")])
def test_only_byte_level_bpe_has_a_fast_tokenizer(files: Callable[[], TokenizerFiles]) -> None:
    assert load_fast(reference_of(files())) is None


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_it_is_trusted_on_the_hard_texts_and_then_used(name: str) -> None:
    files = BYTE_LEVEL[name]()
    reference = reference_of(files)
    trusted = TrustedTokenizer(reference, lambda: load_trusted(reference))

    for number in range(FIRST_FAST):
        (found,) = trusted.tokenize([f"文本 {number}"])
        assert list(found.ids) == reference.ids([f"文本 {number}"])[0]
    assert isinstance(found, FastTokens)


# --- trust -------------------------------------------------------------------------------------------------------


class Counted:
    """A TextTokenizer that notes what it is asked, and answers as another does."""

    def __init__(self, other: TextTokenizer) -> None:
        self.other, self.batches = other, 0

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        self.batches += 1
        return self.other.tokenize(self.changed(texts))

    def ids(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        self.batches += 1
        return self.other.ids(self.changed(texts))

    def changed(self, texts: Sequence[str]) -> Sequence[str]:
        return texts


class WrongOn(Counted):
    """Gives other tokens, or raises, where a text has a certain word."""

    def __init__(self, other: TextTokenizer, word: str, error: Exception | None = None) -> None:
        super().__init__(other)
        self.word, self.error = word, error

    def changed(self, texts: Sequence[str]) -> Sequence[str]:
        if self.error and any(self.word in text for text in texts):
            raise self.error
        return [text.replace(self.word, self.word + "!") for text in texts]


@pytest.fixture(scope="module")
def reference() -> HuggingFaceTokenizer:
    return reference_of(tiny_tokenizer())


def test_a_small_dataset_loads_no_fast_tokenizer(reference: HuggingFaceTokenizer) -> None:
    def load() -> TextTokenizer | None:
        raise AssertionError

    trusted = TrustedTokenizer(reference, load)
    for _ in range(FIRST_FAST - 1):
        assert list(trusted.ids(["a"])[0]) == reference.ids(["a"])[0]


def test_later_batches_are_the_fast_one_s() -> None:
    reference, fast = reference_of(tiny_tokenizer()), Counted(reference_of(tiny_tokenizer()))
    trusted = TrustedTokenizer(reference, lambda: fast)

    for number in range(130):
        assert list(trusted.tokenize([f"text {number}"])[0].ids) == reference.ids([f"text {number}"])[0]

    assert fast.batches == 130 - (FIRST_FAST - 1)


@pytest.mark.parametrize("error", [None, RuntimeError("out of luck")])
@pytest.mark.parametrize("batch", [FIRST_FAST, FIRST_FAST + 3, 64, 128])
@pytest.mark.parametrize("method", ["tokenize", "ids"])
def test_a_difference_and_an_error_end_the_trust(
    reference: HuggingFaceTokenizer, method: str, batch: int, error: Exception | None
) -> None:
    trusted: Any = TrustedTokenizer(reference, lambda: WrongOn(reference, "seldom", error))
    ask = getattr(trusted, method)
    for _ in range(1, batch):
        ask(["plain"])

    with capture_logs() as logs, pytest.raises(Distrusted):
        ask(["seldom seen"])

    assert [entry["event"] for entry in logs] == ["tokenizer.distrusted"]


@pytest.mark.parametrize("error", [None, RuntimeError("out of luck")])
def test_what_fails_on_the_hard_texts_is_never_used(
    reference: HuggingFaceTokenizer, error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "load_fast", lambda reference: WrongOn(reference, "孤灯", error))

    with capture_logs() as logs:
        assert load_trusted(reference) is None

    assert [entry["event"] for entry in logs] == ["tokenizer.distrusted"]


def test_a_difference_in_places_alone_is_a_difference(reference: HuggingFaceTokenizer) -> None:
    class Shifted(Counted):
        def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
            found = list(reference.tokenize(texts))
            for each in found:
                each._offsets = [(start + 1, end + 1) for start, end in each._offsets]
            return found

    trusted = TrustedTokenizer(reference, lambda: Shifted(reference))
    for _ in range(1, FIRST_FAST):
        trusted.tokenize(["a few words"])

    with pytest.raises(Distrusted, match="other tokens in characters"):
        trusted.tokenize(["a few words"])


def test_who_distrusts_counts_with_the_reference_alone() -> None:
    encoder = SampleEncoder(tiny_tokenizer())
    encoder.give_up_on_fast()
    counting = encoder.accelerated()

    for _ in range(FIRST_FAST + 1):
        (found,) = counting.encode("pretrain", [{"text": "a"}])
        assert isinstance(found.sequences[0].ids, tuple)
    assert counting.encode("pretrain", [{"text": "a"}]) == encoder.encode("pretrain", [{"text": "a"}])
