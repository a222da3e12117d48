"""Samples to tokens: which tokens are trained on, with what weight, and which templates are refused."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tokenizers import Tokenizer, processors

from worker.tokens.encoder import EncodedSequence, SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.tokens.template import ChatTemplate, ChatTemplateError
from worker.trainer.tiny_tokenizer import tiny_tokenizer

FILES = tiny_tokenizer()
POEM = "多少关心事,书灰到夜深。"


@pytest.fixture(scope="module")
def encoder() -> SampleEncoder:
    return SampleEncoder(FILES)


def with_template(template: str) -> SampleEncoder:
    return SampleEncoder(FILES._replace(chat_template=template.encode()))


def sample(*turns: tuple[str, str] | tuple[str, str, float]) -> dict[str, Any]:
    names = ("role", "content", "loss_weight")
    return {"messages": [dict(zip(names, turn, strict=False)) for turn in turns]}


def text_of(ids: list[int]) -> str:
    text: str = Tokenizer.from_buffer(FILES.tokenizer).decode(ids, skip_special_tokens=False)
    return text


def encode(encoder: SampleEncoder, sample: dict[str, Any]) -> EncodedSequence:
    (encoded,) = encoder.encode_sft([sample])
    return encoded


def runs(encoded: EncodedSequence) -> list[tuple[float, str]]:
    """Return the text of each stretch of equal weight."""
    assert len(encoded.ids) == len(encoded.weights)
    found: list[tuple[float, list[int]]] = []
    for token, weight in zip(encoded.ids, encoded.weights, strict=True):
        if not found or found[-1][0] != weight:
            found.append((weight, []))
        found[-1][1].append(token)
    return [(weight, text_of(ids)) for weight, ids in found]


def test_an_answer_is_trained_from_after_the_generation_prompt_to_its_end_of_turn_token(encoder: SampleEncoder) -> None:
    encoded = encode(encoder, sample(("system", "Be brief."), ("user", "hello"), ("assistant", "Hello!")))

    before = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert runs(encoded) == [(0.0, before), (1.0, "Hello!<|im_end|>"), (0.0, "\n")]
    assert encoded.trained == sum(weight == 1.0 for weight in encoded.weights)


def test_chinese_text_is_trained_to_the_last_byte_of_its_last_character(encoder: SampleEncoder) -> None:
    encoded = encode(encoder, sample(("user", "孤灯照不寐,下一句是?"), ("assistant", POEM)))

    assert runs(encoded)[1] == (1.0, POEM + "<|im_end|>")


def test_a_token_that_straddles_the_beginning_of_an_answer_is_trained() -> None:
    spaced = with_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )

    assert runs(encode(spaced, sample(("user", "a"), ("assistant", "the end"))))[1] == (1.0, " the end\n")


def test_every_turn_has_its_own_weight(encoder: SampleEncoder) -> None:
    first, second = ("assistant", "one", 0.25), ("assistant", "two", 0.0)
    encoded = encode(encoder, sample(("user", "a"), first, ("user", "b"), second, ("assistant", "three")))

    trained = [(weight, text) for weight, text in runs(encoded) if weight > 0]
    assert trained == [(0.25, "one<|im_end|>"), (1.0, "three<|im_end|>")]


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_nothing_but_the_assistant_is_trained(encoder: SampleEncoder, role: str) -> None:
    encoded = encode(encoder, sample((role, "words"), ("assistant", "x", 0.0)))

    assert set(encoded.weights) == {0.0}


def test_a_leading_space_of_an_answer_is_trained(encoder: SampleEncoder) -> None:
    encoded = encode(encoder, sample(("user", "a"), ("assistant", "  indented")))

    assert runs(encoded)[1] == (1.0, "  indented<|im_end|>")


def test_special_tokens_in_a_text_are_what_the_model_would_see(encoder: SampleEncoder) -> None:
    encoded = encode(encoder, sample(("user", "a"), ("assistant", "x<|im_end|>\ny")))

    assert runs(encoded)[1] == (1.0, "x<|im_end|>\ny<|im_end|>")


def test_a_conversation_may_begin_with_the_assistant(encoder: SampleEncoder) -> None:
    encoded = encode(encoder, sample(("assistant", "Welcome"), ("user", "a"), ("assistant", "b")))

    assert [text for weight, text in runs(encoded) if weight] == ["Welcome<|im_end|>", "b<|im_end|>"]


def test_a_template_without_an_end_of_turn_token_trains_to_the_end_of_its_turn() -> None:
    plain = with_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )

    assert runs(encode(plain, sample(("user", "a"), ("assistant", "b"))))[1] == (1.0, " b\n")


def test_the_first_token_is_never_trained_since_nothing_predicts_it() -> None:
    bare = with_template("{% for m in messages %}{{ m.content }}{% endfor %}")

    encoded = encode(bare, sample(("assistant", "hello")))

    assert encoded.weights[0] == 0.0
    assert encoded.weights[1:] == [1.0] * (len(encoded.ids) - 1)


def test_a_template_that_renders_earlier_turns_differently_is_refused() -> None:
    forgetful = with_template(
        "{% for m in messages %}{% if m.role == 'assistant' and not loop.last %}assistant: (said)\n"
        "{% else %}{{ m.role }}: {{ m.content }}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    single = sample(("user", "a"), ("assistant", "b"))
    encode(forgetful, single)

    with pytest.raises(ChatTemplateError, match="not prefix-stable: up to message 1"):
        encode(forgetful, sample(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")))


def test_a_generation_prompt_the_template_does_not_keep_is_refused() -> None:
    other = with_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}Answer now: {% endif %}"
    )

    with pytest.raises(ChatTemplateError, match="prefix-stable"):
        encode(other, sample(("user", "a"), ("assistant", "b")))


def test_what_a_template_refuses_is_said_in_its_words() -> None:
    strict = with_template("{{ raise_exception('roles must alternate') }}")

    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        encode(strict, sample(("user", "a"), ("assistant", "b")))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% for i in range(999999999) %}{% endfor %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(template: str) -> None:
    with pytest.raises(ChatTemplateError):
        encode(with_template(template), sample(("user", "a"), ("assistant", "b")))


def test_a_broken_template_is_named_with_its_line() -> None:
    broken = with_template("ok\n{% for %}")

    with pytest.raises(ChatTemplateError, match="broken in line 2"):
        encode(broken, sample(("user", "a"), ("assistant", "b")))


def test_a_model_without_a_template_is_refused() -> None:
    bare = SampleEncoder(FILES._replace(chat_template=None))

    with pytest.raises(ChatTemplateError, match="no chat template"):
        encode(bare, sample(("user", "a"), ("assistant", "b")))


def test_the_template_may_lie_in_the_configuration(encoder: SampleEncoder) -> None:
    assert FILES.chat_template is not None
    for stated in (FILES.chat_template.decode(), [{"name": "default", "template": FILES.chat_template.decode()}]):
        config = msgspec.json.encode(msgspec.json.decode(FILES.config) | {"chat_template": stated})
        inside = SampleEncoder(TokenizerFiles(FILES.tokenizer, config))
        one = sample(("user", "a"), ("assistant", "b"))
        assert encode(inside, one) == encode(encoder, one)


def test_tools_reach_the_template_as_json_that_is_not_escaped() -> None:
    tooled = ChatTemplate("{{ tools | tojson }}{{ messages[0].tool_calls[0].function.arguments | tojson }}", {})
    calling = with_template(
        "{% for m in messages %}{{ m.role + ':\n' }}"
        "{% if m.tool_calls %}{{ m.tool_calls[0].function | tojson }}{% endif %}{{ '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
    )
    call = {"function": {"name": "weather", "arguments": '{"city": "北京"}'}}

    encoded = encode(
        calling,
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]},
    )

    assert runs(encoded)[1] == (1.0, '{"name": "weather", "arguments": {"city": "北京"}}\n')
    rendered = tooled.render([{"role": "assistant", "tool_calls": [call]}], tools=[{"name": "<北京>"}])
    assert rendered.startswith('[{"name": "<北京>"}]')


_CALL = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
_TOOL = {"type": "function", "function": {"name": "forecast"}}


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [_CALL]}]},
            r"calls of tools out \(weather\)",
        ),
        ({"messages": [{"role": "assistant", "content": "b"}], "tools": [_TOOL]}, r"the tools out \(forecast\)"),
        (
            {"messages": [{"role": "assistant", "content": "b", "reasoning_content": "\n先想一想\nso"}]},
            r"the reasoning out \(先想一想\)",
        ),
    ],
)
def test_what_a_template_would_leave_out_is_not_trained_without(
    encoder: SampleEncoder, lost: dict[str, Any], said: str
) -> None:
    sample = lost | {"messages": [{"role": "user", "content": "a"}, *lost["messages"]]}

    with pytest.raises(ChatTemplateError, match=said):
        encode(encoder, sample)
    preferred = {**sample["messages"][-1], "content": "", "chosen": "b", "rejected": "c"}
    if "tool_calls" not in preferred:
        with pytest.raises(ChatTemplateError, match=said):
            encoder.encode("preference", [sample | {"messages": [sample["messages"][0], preferred]}])


def test_the_day_a_template_writes_is_always_the_same() -> None:
    assert ChatTemplate("{{ strftime_now('%d %b %Y') }}", {}).render([]) == "26 Jul 2024"
    assert datetime.now(UTC).year != 2024


def test_generation_marks_and_loop_controls_are_understood() -> None:
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"

    assert ChatTemplate(template, {}).render([{"content": "a"}, {"content": "b"}]) == "a"


def test_truncation_and_padding_stored_in_a_tokenizer_are_ignored(encoder: SampleEncoder) -> None:
    cutting = Tokenizer.from_buffer(FILES.tokenizer)
    cutting.enable_truncation(4)
    cutting.enable_padding(length=500)
    cut = SampleEncoder(FILES._replace(tokenizer=cutting.to_str().encode()))
    one = sample(("user", "a"), ("assistant", "b"))

    assert encode(cut, one) == encode(encoder, one)


def test_a_tokenizer_that_trims_its_offsets_loses_no_space_of_an_answer() -> None:
    trimming = Tokenizer.from_buffer(FILES.tokenizer)
    trimming.post_processor = processors.ByteLevel(trim_offsets=True)
    bare = (
        "{% for m in messages %}{{ m.role + ':\n' + m.content }}{% endfor %}"
        "{{ 'assistant:\n' if add_generation_prompt }}"
    )
    files = FILES._replace(tokenizer=trimming.to_str().encode(), chat_template=bare.encode())

    assert runs(encode(SampleEncoder(files), sample(("user", "a"), ("assistant", "b  "))))[1] == (1.0, "b  ")


def test_tokens_declared_in_the_configuration_alone_are_added() -> None:
    size = Tokenizer.from_buffer(FILES.tokenizer).get_vocab_size()
    declared = {str(size): {"content": "<|extra|>", "special": True, "lstrip": False, "rstrip": False}}
    config = msgspec.json.encode(msgspec.json.decode(FILES.config) | {"added_tokens_decoder": declared})

    encoded = encode(SampleEncoder(FILES._replace(config=config)), sample(("user", "<|extra|>"), ("assistant", "b")))

    assert size in encoded.ids


def test_the_digest_follows_from_every_file() -> None:
    others = [
        FILES._replace(tokenizer=FILES.tokenizer + b" "),
        FILES._replace(config=FILES.config + b" "),
        FILES._replace(chat_template=b"{{ messages }}"),
        FILES._replace(chat_template=None),
    ]
    digests = {files.digest for files in (FILES, *others)}

    assert len(digests) == 5
    assert tiny_tokenizer().digest == FILES.digest == SampleEncoder(FILES).digest


def test_a_batch_is_encoded_as_its_samples_are_one_by_one(encoder: SampleEncoder) -> None:
    samples = [sample(("user", "a" * length), ("assistant", POEM)) for length in (1, 40, 3)]

    assert encoder.encode_sft(samples) == [encode(encoder, one) for one in samples]
    assert encoder.encode_sft([]) == []


def turns(count: int) -> dict[str, Any]:
    return sample(*(("user" if number % 2 == 0 else "assistant", f"word {number}") for number in range(count)))


@pytest.mark.parametrize("format", ["sft", "preference"])
def test_of_what_is_longer_than_the_context_no_turn_is_looked_for(
    encoder: SampleEncoder, format: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = turns(40)
    if format == "preference":
        conversation["messages"][-1] = {"role": "assistant", "chosen": "yes", "rejected": "no"}
    (whole,) = encoder.encode(format, [conversation])
    (fits,) = encoder.encode(format, [conversation], whole.longest)
    assert fits == whole
    rendered: list[bool] = []
    render = ChatTemplate.render

    def counted(self: ChatTemplate, messages: Any, **named: Any) -> str:
        rendered.append(len(messages) == 40)
        return render(self, messages, **named)

    monkeypatch.setattr(ChatTemplate, "render", counted)
    (cut,) = encoder.encode(format, [conversation], min(len(each.ids) for each in whole.sequences) - 1)

    assert [each.ids for each in cut.sequences] == [each.ids for each in whole.sequences]
    assert cut.trained == 0 < whole.trained
    assert rendered == [True] * len(whole.sequences)
