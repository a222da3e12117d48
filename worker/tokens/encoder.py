"""The encoder: samples of every format to token ids and loss weights. The one place that says what a model sees.

==========  =====================================================  =================================================
format      sequences of a sample                                  tokens trained on
==========  =====================================================  =================================================
sft         the conversation, by the chat template                 what the assistant writes, by its loss weights
preference  the conversation with each candidate as its last turn  the candidate, up to and with its end of turn
ranking     the query, and each document, each on its own          all: the loss is about whole texts
pretrain    the text, and the end-of-text token behind it          all: each predicts the next
==========  =====================================================  =================================================

In every format but ranking the first token of a sequence is not trained on: nothing predicts it. Texts that stand alone
(ranking, pretrain) have the tokens around them that the tokenizer itself puts there, such as a beginning-of-text token;
a chat template writes its own. A sample fits a model if its longest sequence does; a pretrain text always does, since
texts are cut and packed to the context.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Self

import msgspec

from contracts.dataset import Format
from worker.tokens.candidates import candidates, extremes
from worker.tokens.chat import Conversations, Rendered, Span
from worker.tokens.files import CONFIG_FILE, TokenizerFiles
from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.tokenizer import TextTokenizer, Tokens
from worker.tokens.trust import TrustedTokenizer, load_trusted

Samples = Sequence[Mapping[str, Any]]


class Trained(NamedTuple):
    """Tokens [first, end) of a sequence have this loss weight, which is above 0."""

    first: int
    end: int
    weight: float


class EncodedSequence(NamedTuple):
    """Token ids that a model sees together, and the stretches of them that are trained on: rising, none overlaps."""

    ids: Sequence[int]
    stretches: tuple[Trained, ...]

    @property
    def weights(self) -> list[float]:
        """Return the loss weight of each token: 0.0 is not trained on."""
        weights = [0.0] * len(self.ids)
        for first, end, weight in self.stretches:
            weights[first:end] = [weight] * (end - first)
        return weights

    @property
    def trained(self) -> int:
        """Return the number of tokens with a weight above 0."""
        return sum(end - first for first, end, _ in self.stretches)


class EncodedSample(NamedTuple):
    """The sequences of one sample.

    ``packed``: they are cut to the context, and never too long for it. ``extremes``: of a preference, the places of the
    best and the worst candidate.
    """

    sequences: tuple[EncodedSequence, ...]
    packed: bool = False
    extremes: tuple[int, int] | None = None

    @property
    def total(self) -> int:
        """Return the number of tokens in all sequences."""
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def total_of_extremes(self) -> int:
        """Return the number of tokens in the sequences of the best and the worst candidate; 0 without candidates."""
        return sum(len(self.sequences[place].ids) for place in self.extremes or ())

    @property
    def trained(self) -> int:
        """Return the number of tokens in all sequences with a weight above 0."""
        return sum(sequence.trained for sequence in self.sequences)

    @property
    def longest(self) -> int:
        """Return the number of tokens in the longest sequence."""
        return max(len(sequence.ids) for sequence in self.sequences)


class SampleEncoder:
    """A model's tokenizer and chat template.

    Never truncates: the caller compares lengths with the context. Deterministic; usable from several threads.

    Raises ValueError where the files are not a tokenizer.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._config = _object(files.config)
        self._template = files.chat_template
        self.digest = files.digest
        self._reference = HuggingFaceTokenizer(files.tokenizer, self._config)
        #: What texts are tokenised with: the reference, or what gives the same.
        self.tokenizer: TextTokenizer = self._reference

    def accelerated(self) -> Self:
        """Return this encoder for counting one dataset, on a fast tokenizer where that is seen to be the same.

        Its methods may raise Distrusted: then count the dataset again, with this one.
        """
        other = copy.copy(self)
        other.tokenizer = TrustedTokenizer(self._reference, lambda: self._fast)
        return other

    def give_up_on_fast(self) -> None:
        """Have every later ``accelerated`` use the reference tokenizer alone."""
        self._fast = None

    def encode(self, format: Format, samples: Samples, context_length: int | None = None) -> list[EncodedSample]:
        """Return the tokens of valid samples of one format, in order.

        Of a conversation with more tokens than ``context_length`` all tokens are there, but none is trained on: it is
        left out anyway, and looking for its turns takes time with the square of their number.

        Raises:
            ChatTemplateError: the model has no usable chat template, or it refuses a sample, or is not prefix-stable.
        """
        match format:
            case "sft":
                return [EncodedSample((each,)) for each in self.encode_sft(samples, context_length)]
            case "preference":
                return self._preference(samples, context_length)
            case "ranking":
                return self._ranking(samples)
            case "pretrain":
                return self._pretrain(samples)

    def encode_sft(self, samples: Samples, context_length: int | None = None) -> list[EncodedSequence]:
        """Return the tokens of valid sft samples, in order. A sample is one sequence. As above, and raises as above."""
        return self._sequences([self._conversations.sft(sample) for sample in samples], context_length)

    def _preference(self, samples: Samples, context_length: int | None) -> list[EncodedSample]:
        rendered = [self._conversations.preference(sample) for sample in samples]
        sequences = iter(self._sequences([text for texts in rendered for text in texts], context_length))
        ends = [extremes(candidates(sample["messages"][-1])) for sample in samples]
        return [
            EncodedSample(_taken(sequences, len(texts)), extremes=places)
            for texts, places in zip(rendered, ends, strict=True)
        ]

    def _ranking(self, samples: Samples) -> list[EncodedSample]:
        texts = [[sample["query"], *(doc["text"] for doc in sample["docs"])] for sample in samples]
        before, behind = self._reference.frame
        framed = [(*before, *ids, *behind) for ids in self.tokenizer.ids([text for each in texts for text in each])]
        sequences = iter([EncodedSequence(ids, (Trained(0, len(ids), 1.0),)) for ids in framed])
        return [EncodedSample(_taken(sequences, len(each))) for each in texts]

    def _pretrain(self, samples: Samples) -> list[EncodedSample]:
        before, behind = self._reference.frame
        end = behind or self._end_of_text
        found = []
        for ids in self.tokenizer.ids([sample["text"] for sample in samples]):
            # A text may bring its end along.
            whole = (*before, *ids, *(() if end and tuple(ids[-len(end) :]) == end else end))
            found.append(EncodedSample((EncodedSequence(whole, (Trained(1, len(whole), 1.0),)),), packed=True))
        return found

    def _sequences(self, rendered: Sequence[Rendered], context_length: int | None) -> list[EncodedSequence]:
        tokenized = self.tokenizer.tokenize([each.text for each in rendered])
        return [
            EncodedSequence(tokens.ids, _stretches(tokens, each.spans()) if _fits(tokens, context_length) else ())
            for tokens, each in zip(tokenized, rendered, strict=True)
        ]

    @cached_property
    def _conversations(self) -> Conversations:
        return Conversations(self._template, self._config, self._reference.added.values())

    @cached_property
    def _fast(self) -> TextTokenizer | None:
        return load_trusted(self._reference)

    @cached_property
    def _end_of_text(self) -> tuple[int, ...]:
        stated = self._config.get("eos_token")
        text = stated.get("content") if isinstance(stated, dict) else stated
        number = self._reference.id_of(text) if isinstance(text, str) else None
        return () if number is None else (number,)


def _fits(tokens: Tokens, context_length: int | None) -> bool:
    return context_length is None or len(tokens.ids) <= context_length


def _stretches(tokens: Tokens, spans: Sequence[Span]) -> tuple[Trained, ...]:
    found: list[Trained] = []
    for start, end, weight in spans:
        first, last = tokens.within(start, end)
        # Nothing predicts the first token; one that two spans share is of the later one.
        first = max(first, 1)
        if found and first < found[-1].end:
            found[-1] = found[-1]._replace(end=first)
        if first < last:
            found.append(Trained(first, last, weight))
    return tuple(found)


def _taken(sequences: Iterator[EncodedSequence], count: int) -> tuple[EncodedSequence, ...]:
    return tuple(next(sequences) for _ in range(count))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"{CONFIG_FILE} is not a JSON object: {error}") from error
