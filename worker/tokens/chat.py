"""The encoder: one sample to token ids and one loss weight a token.

A conversation is rendered once and tokenised once, as a whole, exactly as it would be for the model. Which tokens are
an assistant's is found by rendering the conversation's beginnings: where a template renders a beginning differently
than the whole (it drops earlier reasoning, say), spans cannot be found, and the sample is refused.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from tokenizers import AddedToken, Tokenizer

from worker.tokens.template import ChatTemplate, ChatTemplateError, for_template

#: Part of every digest: raised when the rules in this package change, so that older counts are not taken for new ones.
RULES = b"1"

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"

Span = tuple[int, int, float]


class TokenizerFiles(NamedTuple):
    """The bytes that decide how a model reads text. ``chat_template`` wins over the one in ``config``."""

    tokenizer: bytes
    config: bytes
    chat_template: bytes | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of tokenizer, configuration, template and our rules. Needs no tokenizer built."""
        whole = sha256(RULES)
        for part in (self.tokenizer, self.config, self.chat_template or b""):
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
        return whole.hexdigest()


class EncodedSample(NamedTuple):
    """Token ids and, for each, its loss weight: 0.0 is not trained on. Both have the same length."""

    ids: list[int]
    weights: list[float]

    @property
    def trained(self) -> int:
        """Return the number of tokens with a weight above 0."""
        return sum(weight > 0 for weight in self.weights)


class ChatEncoder:
    """A model's tokenizer and chat template.

    Never truncates: the caller compares lengths with the context. Deterministic; usable from several threads.

    Raises ValueError where the files are not a tokenizer, ChatTemplateError where there is no usable template.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        config = _object(files.config)
        self.digest = files.digest
        self._tokenizer = _tokenizer(files.tokenizer, config)
        self._added = tuple(
            token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.content.strip()
        )
        source = files.chat_template.decode() if files.chat_template is not None else _template_in(config)
        self._template = ChatTemplate(source, _special_tokens(config))

    def encode_sft(self, sample: Mapping[str, Any]) -> EncodedSample:
        """Return the tokens of one valid sft sample.

        Weights: system, user and tool 0.0; an assistant's ``loss_weight`` (default 1.0) from after the generation
        prompt up to and with the end-of-turn token; whitespace the template puts behind that token has 0.0, because
        no model ever writes it. A token that straddles the beginning of a span belongs to it.

        Raises:
            ChatTemplateError: the template refuses the sample, or is not prefix-stable on it.
        """
        return self.encode_sft_batch([sample])[0]

    def encode_sft_batch(self, samples: Sequence[Mapping[str, Any]]) -> list[EncodedSample]:
        """Return the tokens of several samples, in order: the same as one by one, but tokenised side by side."""
        rendered = [self._render(sample) for sample in samples]
        encodings = self._tokenizer.encode_batch([text for text, _ in rendered], add_special_tokens=False)
        return [
            EncodedSample(encoding.ids, _weights(encoding.offsets, spans))
            for encoding, (_, spans) in zip(encodings, rendered, strict=True)
        ]

    def _render(self, sample: Mapping[str, Any]) -> tuple[str, list[Span]]:
        messages = [for_template(message) for message in sample["messages"]]
        variables = {"enable_thinking": sample["thinking"]} if "thinking" in sample else {}
        beginning = _Beginnings(self._template, messages, sample.get("tools"), variables)
        spans: list[Span] = []
        for index, message in enumerate(sample["messages"]):
            stated = message.get("loss_weight")
            weight = 1.0 if stated is None else float(stated)
            if message["role"] == "assistant" and weight > 0:
                start, end = beginning.turn(index)
                spans.append((start, self._end_of_turn(beginning.text, start, end), weight))
        return beginning.text, spans

    def _end_of_turn(self, text: str, start: int, end: int) -> int:
        turn = text[start:end].rstrip()
        return start + len(turn) if turn.endswith(self._added) else end


class _Beginnings:
    """A conversation's text and where its turns are in it."""

    def __init__(
        self,
        template: ChatTemplate,
        messages: list[dict[str, Any]],
        tools: Sequence[Any] | None,
        variables: Mapping[str, Any],
    ) -> None:
        self._template, self._messages, self._tools, self._variables = template, messages, tools, variables
        self.text = self._of(len(messages))

    def turn(self, index: int) -> tuple[int, int]:
        """Return the characters [start, end) that the model writes as message ``index``."""
        end = self._checked(self._of(index + 1), index) if index + 1 < len(self._messages) else len(self.text)
        if index > 0:
            return self._checked(self._of(index, generation_prompt=True), index), end
        # Nothing comes before it, and templates need not be able to render nothing: the prompt is what
        # asking for another turn adds.
        prompt = self._of(1, generation_prompt=True)[len(self._of(1)) :]
        found = self.text.find(prompt, 0, end)
        if found < 0:
            raise _unstable(index)
        return found + len(prompt), end

    def _of(self, count: int, *, generation_prompt: bool = False) -> str:
        return self._template.render(
            self._messages[:count],
            tools=self._tools,
            generation_prompt=generation_prompt,
            variables=self._variables,
        )

    def _checked(self, beginning: str, index: int) -> int:
        if not self.text.startswith(beginning):
            raise _unstable(index)
        return len(beginning)


def _unstable(index: int) -> ChatTemplateError:
    return ChatTemplateError(
        f"the chat template is not prefix-stable: up to message {index} it renders the conversation differently "
        "than within the whole, so that the tokens to train on cannot be told from the others"
    )


def _weights(offsets: list[tuple[int, int]], spans: list[Span]) -> list[float]:
    weights = [0.0] * len(offsets)
    for start, end, weight in spans:
        first = bisect_right(offsets, start, key=itemgetter(1))
        last = bisect_left(offsets, end, lo=first, key=itemgetter(0))
        weights[first:last] = [weight] * (last - first)
    if weights:
        weights[0] = 0.0  # nothing predicts the first token
    return weights


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"{CONFIG_FILE} is not a JSON object: {error}") from error


def _tokenizer(raw: bytes, config: dict[str, Any]) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(raw)
    except Exception as error:  # the bindings raise Exception itself
        raise ValueError(f"{TOKENIZER_FILE} cannot be read: {error}") from error
    # What is stored there would cut and pad silently.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Without special tokens to add it only trims offsets, and a trimmed space would fall out of its span.
    tokenizer.post_processor = None
    _add_missing(tokenizer, config.get("added_tokens_decoder", {}))
    return tokenizer


def _add_missing(tokenizer: Tokenizer, declared: dict[str, Any]) -> None:
    """Add what only the configuration declares, in the order of the ids it declares."""
    for number, token in sorted(declared.items(), key=lambda item: int(item[0])):
        if tokenizer.token_to_id(token["content"]) is not None:
            continue
        tokenizer.add_tokens([AddedToken(**{key: value for key, value in token.items() if key != "__type"})])
        if (given := tokenizer.token_to_id(token["content"])) != int(number):
            raise ValueError(f"{CONFIG_FILE} gives {token['content']!r} the id {number}, but it would be {given}")


def _template_in(config: dict[str, Any]) -> str:
    stated = config.get("chat_template")
    if isinstance(stated, list):  # several by name
        stated = {entry["name"]: entry["template"] for entry in stated}.get("default")
    if not isinstance(stated, str):
        raise ChatTemplateError("the model has no chat template")
    return stated


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found
