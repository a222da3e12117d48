"""The reference tokenizer: Hugging Face's, whose answers are the ones that count."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenizers import AddedToken, Encoding, Tokenizer

from worker.tokens.files import CONFIG_FILE, TOKENIZER_FILE
from worker.tokens.offsets import ByteRuns, tokens_within

#: Encoded to see what a tokenizer puts around a text.
_PROBE = "a"


class Frame(NamedTuple):
    """The token ids that the tokenizer itself puts before and behind a text that stands alone."""

    before: tuple[int, ...]
    behind: tuple[int, ...]


class HuggingFaceTokenizer:
    """A TextTokenizer over ``tokenizer.json``, with the tokens that only ``tokenizer_config.json`` declares.

    Raises ValueError where the files are not a tokenizer.
    """

    def __init__(self, raw: bytes, config: dict[str, Any]) -> None:
        try:
            tokenizer = Tokenizer.from_buffer(raw)
        except Exception as error:  # the bindings raise Exception itself
            raise ValueError(f"{TOKENIZER_FILE} cannot be read: {error}") from error
        # What is stored there would cut and pad silently.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _add_missing(tokenizer, config.get("added_tokens_decoder", {}))
        self.frame = _frame(tokenizer)
        # Without special tokens to add it only trims offsets, and a trimmed space would fall out of its span.
        tokenizer.post_processor = None
        self._tokenizer = tokenizer
        self._added = frozenset(tokenizer.get_added_tokens_decoder())
        self._runs = ByteRuns(tokenizer)

    @property
    def added(self) -> dict[int, str]:
        """Return the text of each added token, by its id."""
        return {number: token.content for number, token in self._tokenizer.get_added_tokens_decoder().items()}

    @property
    def vocabulary(self) -> dict[str, int]:
        """Return the id of each token, without the added ones."""
        return self._tokenizer.get_vocab(with_added_tokens=False)

    def id_of(self, token: str) -> int | None:
        """Return the id of a token, or None."""
        return self._tokenizer.token_to_id(token)

    def as_json(self) -> bytes:
        """Return what the tokenizer is now, as a ``tokenizer.json``."""
        return self._tokenizer.to_str().encode()

    def tokenize(self, texts: Sequence[str]) -> list["EncodedText"]:
        """Return the tokens of each text."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            EncodedText(text, encoding, self._added, self._runs)
            for text, encoding in zip(texts, encodings, strict=True)
        ]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text."""
        return [each.ids for each in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


class EncodedText:
    """The Tokens of one text."""

    def __init__(self, text: str, encoding: Encoding, added: frozenset[int], runs: ByteRuns) -> None:
        self._text, self._added, self._runs = text, added, runs
        self.ids: list[int] = encoding.ids
        self._offsets: list[tuple[int, int]] = encoding.offsets

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Return (first, end) of the tokens of characters [start, end)."""
        first, last = tokens_within(self._offsets, start, end)
        first = self._runs.cut(self._text, self.ids, self._offsets, first, start, default=first)
        last = self._runs.cut(self._text, self.ids, self._offsets, last - 1, end, default=last)
        if first < last and self._offsets[first][0] < start and self.ids[first] in self._added:
            first += 1
        return first, max(first, last)


def _frame(tokenizer: Tokenizer) -> Frame:
    alone = tokenizer.encode(_PROBE, add_special_tokens=False).ids
    framed = tokenizer.encode(_PROBE, add_special_tokens=True).ids
    for start in range(len(framed) - len(alone) + 1):
        if framed[start : start + len(alone)] == alone:
            return Frame(tuple(framed[:start]), tuple(framed[start + len(alone) :]))
    return Frame((), ())


def _add_missing(tokenizer: Tokenizer, declared: dict[str, Any]) -> None:
    """Add what only the configuration declares, in the order of the ids it declares."""
    for number, token in sorted(declared.items(), key=lambda item: int(item[0])):
        if tokenizer.token_to_id(token["content"]) is not None:
            continue
        tokenizer.add_tokens([AddedToken(**{key: value for key, value in token.items() if key != "__type"})])
        if (given := tokenizer.token_to_id(token["content"])) != int(number):
            raise ValueError(f"{CONFIG_FILE} gives {token['content']!r} the id {number}, but it would be {given}")
