"""From characters to tokens: exactly the answer is trained on, whatever the tokenizer makes of spaces and bytes."""

import re
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer

from tests.tokenizers import converted, files_of, qwen_like, sentencepiece_model, unigram
from worker.tokens.encoder import EncodedSequence, SampleEncoder
from worker.tokens.files import TokenizerFiles

KINDS: dict[str, Callable[[], TokenizerFiles]] = {
    "byte-level": qwen_like,
    "unigram": unigram,
    "sentencepiece-unigram": lambda: converted("unigram"),
    "sentencepiece-bpe": lambda: converted("bpe"),
}
#: Unknown to the SentencePiece vocabularies here, so that they spell it in bytes: 囍, 龘, 🙂 and the line break.
ANSWERS = [
    "The capital is Paris.",
    "多少关心事,书灰到夜深。",
    "囍",
    "龘囍🙂",
    "\n龘\n",
    "囍 hello",
    "  indented",
    "ends unknown 囍",
    "ﬁrst ①",
    "🙂 naïve café\n\tdef f():\r\n  pass",
]
#: The answer follows on a line break, on a control token, on a word, and on a character that is unknown as well.
PROMPTS = ["<|im_start|>assistant\n", "<|im_start|>", "Answer:", "囍"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def with_prompt(files: TokenizerFiles, prompt: str) -> SampleEncoder:
    template = (
        "{% for m in messages %}{{ (prompt if m.role == 'assistant' else 'user: ') + m.content + '<|im_end|>' }}"
        "{% endfor %}{{ prompt if add_generation_prompt }}"
    )
    return SampleEncoder(files._replace(chat_template=template.replace("prompt if", f"{prompt!r} if").encode()))


def encoded(encoder: SampleEncoder, answer: str) -> EncodedSequence:
    messages = [{"role": "user", "content": "龘?"}, {"role": "assistant", "content": answer}]
    (found,) = encoder.encode_sft([{"messages": messages}])
    return found


def bytes_of(files: TokenizerFiles, ids: list[int]) -> bytes:
    """Return what tokens stand for, without any decoder's cleaning up."""
    tokenizer = Tokenizer.from_buffer(files.tokenizer)
    if files is qwen_like():
        text: str = tokenizer.decode(ids, skip_special_tokens=False)
        return text.encode()
    found = b""
    for token in (tokenizer.id_to_token(number) or "" for number in ids):
        spelt = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
        found += bytes.fromhex(spelt[1]) if spelt else token.replace("▁", " ").encode()
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_trained_on_is_the_answer_and_nothing_of_its_prompt(kind: str, prompt: str, answer: str) -> None:
    files = KINDS[kind]()

    found = encoded(with_prompt(files, prompt), answer)

    # The answers are composed already, so that NFC leaves them as they are.
    expected = (unicodedata.normalize("NFKC", answer) if kind == "unigram" else answer).encode()
    trained = bytes_of(files, [number for number, weight in zip(found.ids, found.weights, strict=True) if weight])
    # SentencePiece writes a space before what begins a text or follows a control token.
    assert trained.removeprefix(b" ") in {expected + b"<|im_end|>", expected.removeprefix(b" ") + b"<|im_end|>"}


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "text", ["hello world", "孤灯照不寐,风雨满西林。", "x\ny", "🙂 The quick", "def f(x):\n    return"]
)
def test_a_converted_model_gives_the_ids_of_sentencepiece_itself(kind: str, text: str) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model(kind))

    sample = {"query": text, "docs": [{"text": text, "label": 1}]}
    (ours,) = SampleEncoder(converted(kind)).encode("ranking", [sample])

    assert [list(sequence.ids) for sequence in ours.sequences] == [[theirs.bos_id(), *theirs.encode(text)]] * 2


def test_a_control_token_that_swallows_the_space_of_an_answer_is_not_trained() -> None:
    tokenizer = Tokenizer.from_buffer(qwen_like().tokenizer)
    tokenizer.add_tokens([AddedToken("<|assistant|>", special=True, normalized=False, rstrip=True)])
    template = (
        "{% for m in messages %}{{ ('<|assistant|>\n' if m.role == 'assistant' else '') + m.content }}{% endfor %}"
        "{{ '<|assistant|>\n' if add_generation_prompt }}"
    )
    files = files_of(tokenizer, template)

    found = encoded(SampleEncoder(files), "  hello")

    weights: dict[int | None, float] = dict(zip(found.ids, found.weights, strict=True))
    assert weights[tokenizer.token_to_id("<|assistant|>")] == 0.0
    assert found.trained == len(tokenizer.encode("hello").ids)


def test_stretches_never_overlap_where_two_answers_share_a_token() -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    encoder = SampleEncoder(qwen_like()._replace(chat_template=template.encode()))
    weights: list[dict[str, Any]] = [
        {"role": "user", "content": "the"},
        {"role": "assistant", "content": " an", "loss_weight": 0.5},
        {"role": "assistant", "content": "swer"},
    ]

    (found,) = encoder.encode_sft([{"messages": weights}])

    assert all(one.end <= two.first for one, two in pairwise(found.stretches))
    assert found.trained == sum(weight > 0 for weight in found.weights)
