"""What a model sees of a sample, format by format."""

from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from contracts.datasets.findings import Finding
from tests.tokenizers import files_of, qwen_like, unigram
from worker.tokens.encoder import EncodedSample, EncodedSequence, SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.tally import Tally
from worker.tokens.template import ChatTemplateError

QUESTION = {"role": "user", "content": "下一句是?"}
CANDIDATES = ["多少关心事", "I do not know."]


@pytest.fixture(scope="module")
def encoder() -> SampleEncoder:
    return SampleEncoder(qwen_like())


def preference(*earlier: dict[str, Any], **last: Any) -> dict[str, Any]:
    return {"messages": [*earlier, {"role": "assistant", **last}]}


def scored(*texts: str) -> list[dict[str, Any]]:
    return [{"text": text, "score": 1.0 / (rank + 1)} for rank, text in enumerate(texts)]


def text_of(ids: Any, files: TokenizerFiles | None = None) -> str:
    tokenizer = Tokenizer.from_buffer((files or qwen_like()).tokenizer)
    text: str = tokenizer.decode(list(ids), skip_special_tokens=False)
    return text


def trained_text(sequence: EncodedSequence) -> str:
    return text_of([number for number, weight in zip(sequence.ids, sequence.weights, strict=True) if weight])


def one(encoder: SampleEncoder, format: Any, sample: dict[str, Any]) -> EncodedSample:
    (encoded,) = encoder.encode(format, [sample])
    return encoded


# --- preference --------------------------------------------------------------------------------------------------


def test_each_candidate_is_a_sequence_behind_the_prompt_and_alone_is_trained_on(encoder: SampleEncoder) -> None:
    earlier = [QUESTION, {"role": "assistant", "content": "Sorry?"}, {"role": "user", "content": "Again."}]
    encoded = one(encoder, "preference", preference(*earlier, content=scored(*CANDIDATES)))

    assert [trained_text(each) for each in encoded.sequences] == [text + "<|im_end|>" for text in CANDIDATES]
    for sequence, text in zip(encoded.sequences, CANDIDATES, strict=True):
        # The same as a conversation that ends with this candidate.
        sft = {"messages": [*earlier, {"role": "assistant", "content": text}]}
        assert sequence.ids == encoder.encode_sft([sft])[0].ids
    assert encoded.total == sum(len(each.ids) for each in encoded.sequences)
    assert encoded.longest == max(len(each.ids) for each in encoded.sequences)


def test_chosen_and_rejected_are_two_candidates(encoder: SampleEncoder) -> None:
    pair = preference(QUESTION, content="", chosen=CANDIDATES[0], rejected=CANDIDATES[1])

    assert one(encoder, "preference", pair) == one(
        encoder, "preference", preference(QUESTION, content=scored(*CANDIDATES))
    )


def test_loss_weights_and_masks_change_nothing_of_a_preference(encoder: SampleEncoder) -> None:
    content = scored(*CANDIDATES)
    masked = [{**each, "lm_loss_mask": 0} for each in content]
    plain = one(encoder, "preference", preference(QUESTION, content=content))

    assert one(encoder, "preference", preference(QUESTION, content=masked, loss_weight=0.5)) == plain


def test_reasoning_and_tools_are_rendered_with_each_candidate(encoder: SampleEncoder) -> None:
    sample = preference(QUESTION, content=scored(*CANDIDATES), reasoning_content="先想一想")
    encoded = one(encoder, "preference", sample | {"tools": [{"type": "function", "function": {"name": "f"}}]})

    assert all("<think>\n先想一想\n</think>" in trained_text(each) for each in encoded.sequences)
    assert all("# Tools" in text_of(each.ids) for each in encoded.sequences)


# --- ranking and pretrain ----------------------------------------------------------------------------------------


def test_query_and_documents_stand_alone_and_count_as_a_whole() -> None:
    encoder = SampleEncoder(unigram())
    sample = {"query": "capital?", "docs": [{"text": "Paris", "label": 1}, {"text": "下雨", "label": 0}]}

    encoded = one(encoder, "ranking", sample)

    assert [text_of(each.ids, unigram()).split("<s>")[1].strip() for each in encoded.sequences] == [
        "capital?",
        "Paris",
        "下雨",
    ]
    assert {each.ids[0] for each in encoded.sequences} == {1}
    assert encoded.trained == encoded.total


def test_a_text_ends_with_the_end_of_text_token_and_nothing_predicts_its_first() -> None:
    encoder = SampleEncoder(unigram())

    (sequence,) = one(encoder, "pretrain", {"text": "The river"}).sequences

    assert (sequence.ids[0], sequence.ids[-1]) == (1, 2)
    assert sequence.weights == [0.0, *[1.0] * (len(sequence.ids) - 1)]


def test_an_end_that_is_there_already_is_not_doubled(encoder: SampleEncoder) -> None:
    bare, ended = (one(encoder, "pretrain", {"text": text}) for text in ("hello", "hello<|im_end|>"))

    assert list(bare.sequences[0].ids) == list(ended.sequences[0].ids)


def test_a_tokenizer_that_ends_texts_itself_is_left_to_it() -> None:
    tokenizer = Tokenizer.from_buffer(unigram().tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    encoder = SampleEncoder(files_of(tokenizer))

    for kind, sample in (("pretrain", {"text": "a"}), ("ranking", {"query": "a", "docs": []})):
        ids = list(one(encoder, kind, sample).sequences[0].ids)
        assert ids[-1] == 2
        assert ids.count(2) == 1


def test_a_tokenizer_without_an_end_of_text_token_adds_none() -> None:
    files = qwen_like()._replace(config=b'{"eos_token": null}')

    (sequence,) = one(SampleEncoder(files), "pretrain", {"text": "hello"}).sequences

    assert text_of(sequence.ids) == "hello"


def test_texts_need_no_chat_template(encoder: SampleEncoder) -> None:
    bare = SampleEncoder(qwen_like()._replace(chat_template=None))
    assert one(bare, "pretrain", {"text": "a"}) == one(encoder, "pretrain", {"text": "a"})
    with pytest.raises(ChatTemplateError, match="no chat template"):
        one(bare, "preference", preference(QUESTION, content=scored("a", "b")))


def test_a_batch_is_its_samples_one_by_one(encoder: SampleEncoder) -> None:
    samples: dict[Any, Any] = {
        "sft": [{"messages": [QUESTION, {"role": "assistant", "content": "x" * n}]} for n in (1, 40)],
        "preference": [preference(QUESTION, content=scored(*texts)) for texts in (("a", "b"), ("c", "d", "e"))],
        "ranking": [{"query": "q", "docs": [{"text": "d", "label": 1}] * count} for count in (1, 4)],
        "pretrain": [{"text": "a"}, {"text": "b c"}],
    }
    for kind, every in samples.items():
        assert encoder.encode(kind, every) == [one(encoder, kind, sample) for sample in every]
        assert encoder.encode(kind, []) == []


# --- what fits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "sample", "fits"),
    [
        ("preference", preference(QUESTION, content=scored("a", "long " * 60)), False),
        ("ranking", {"query": "a", "docs": [{"text": "b", "label": 1}, {"text": "long " * 60, "label": 0}]}, False),
        ("ranking", {"query": "long " * 15, "docs": [{"text": "long " * 15, "label": 1}] * 4}, True),
        ("pretrain", {"text": "long " * 60}, True),
    ],
)
def test_a_sample_fits_if_its_longest_sequence_does_and_a_text_is_cut(
    encoder: SampleEncoder, format: str, sample: dict[str, Any], *, fits: bool
) -> None:
    found: list[Finding] = []
    tally = Tally(60, found.append)

    encoded = one(encoder, format, sample)
    tally.add(encoded, 7, 2)

    assert (tally.counts().samples, tally.counts().too_long) == (int(fits), int(not fits))
    assert [(each.line, each.file, each.code, each.severity) for each in found] == [
        (7, 2, "sample-too-long", "error")
    ] * (not fits)
    if not fits:
        assert found[0].message == f"{encoded.longest} tokens; the model's context has 60"
        assert tally.counts().total == 0


def test_the_histogram_has_powers_of_two_and_every_sample_once() -> None:
    tally = Tally(None, lambda _: None)
    lengths = (1, 2, 3, 4, 5, 8, 9, 1024, 1025)
    for length in lengths:
        tally.add(EncodedSample((EncodedSequence([0] * length, ()),)), 1)

    counts = tally.counts()

    assert counts.histogram == {1: 1, 2: 1, 4: 2, 8: 2, 16: 1, 1024: 1, 2048: 1}
    assert (counts.total, counts.trained, counts.masked) == (sum(lengths), 0, sum(lengths))
    assert counts.longest == 1025
