"""A fast tokenizer for byte-level BPE, where the package splintr (extra ``fast``) is there.

It gives ids alone. In byte-level BPE each token stands for bytes of the text, one behind the other, so places follow
from ids: by adding up lengths. A text whose lengths do not add up to its own (a byte that the vocabulary lacks, white
space that an added token swallowed) goes to the reference tokenizer, and so does one that would be normalised.
"""

import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

import msgspec
import structlog
from tokenizers.pre_tokenizers import ByteLevel

from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.tokenizer import Tokens

log = structlog.get_logger()


class Ids(Protocol):
    """What is used of splintr."""

    def encode_batch_flat(self, texts: Sequence[str]) -> tuple[bytes, bytes]:
        """Return all ids (32 bits each) and where each text's begin, and the last one's end (64 bits each)."""
        ...


def load_fast(reference: HuggingFaceTokenizer) -> "FastTokenizer | None":
    """Return a fast tokenizer that is to give the same as the reference; None where there is none for this one."""
    described: dict[str, Any] = msgspec.json.decode(reference.as_json())
    if not _is_byte_level(described):
        return None
    try:
        # An extra, which need not be there.
        import splintr  # noqa: PLC0415 - the reason is above

        ids: Ids = splintr.from_json_bytes(reference.as_json())
        return FastTokenizer(ids, reference, composed=described["normalizer"] is not None)
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 - a library that is young: whatever it raises, the reference remains
        log.warning("tokenizer.not_accelerated", reason=str(error))
        return None


class FastTokenizer:
    """A TextTokenizer. ``composed``: the tokenizer normalises to NFC, so that texts in another form are not for it."""

    def __init__(self, ids: Ids, reference: HuggingFaceTokenizer, *, composed: bool) -> None:
        self._ids, self._reference, self._composed = ids, reference, composed
        self._lengths = _lengths(reference)
        self._added = frozenset(reference.added)

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text."""
        found: list[Tokens | None] = []
        for text, ids in zip(texts, self._encoded(texts), strict=True):
            ends = list(accumulate(map(self._lengths.__getitem__, ids)))
            fits = self._adds_up(text, ends[-1] if ends else 0)
            found.append(FastTokens(text, ids, ends, self._added) if fits else None)
        left = [text for text, tokens in zip(texts, found, strict=True) if tokens is None]
        rest = iter(self._reference.tokenize(left) if left else ())
        return [next(rest) if tokens is None else tokens for tokens in found]

    def ids(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Return the token ids of each text."""
        found: list[Sequence[int] | None] = []
        for text, ids in zip(texts, self._encoded(texts), strict=True):
            found.append(ids if self._adds_up(text, sum(map(self._lengths.__getitem__, ids))) else None)
        left = [text for text, ids in zip(texts, found, strict=True) if ids is None]
        rest = iter(self._reference.ids(left) if left else ())
        return [next(rest) if ids is None else ids for ids in found]

    def _encoded(self, texts: Sequence[str]) -> "list[array[int]]":
        flat, places = self._ids.encode_batch_flat(list(texts))
        ids, ends = array("I", flat), array("Q", places)
        return [ids[start:end] for start, end in pairwise(ends)]

    def _adds_up(self, text: str, size: int) -> bool:
        if self._composed and not unicodedata.is_normalized("NFC", text):
            return False
        return size == _size(text)


class FastTokens:
    """The Tokens of one text. ``ends`` are where each token's bytes end."""

    def __init__(self, text: str, ids: "array[int]", ends: list[int], added: frozenset[int]) -> None:
        self._text, self._ends, self._added = text, ends, added
        self.ids: Sequence[int] = ids

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Return (first, end) of the tokens of characters [start, end)."""
        if end <= start:
            return 0, 0
        # A boundary of characters is one of bytes, so no token is on another side of it here than by its characters.
        begin = _size(self._text[:start])
        first = bisect_right(self._ends, begin)
        last = bisect_left(self._ends, begin + _size(self._text[start:end]), lo=first) + 1
        began = self._ends[first - 1] if first else 0
        if began < begin and self.ids[first] in self._added:
            first += 1
        return first, max(first, last)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _lengths(reference: HuggingFaceTokenizer) -> dict[int, int]:
    """Return how many bytes of a text each token stands for: a character of the byte alphabet is a byte."""
    lengths = {number: len(token) for token, number in reference.vocabulary.items()}
    return lengths | {number: _size(content) for number, content in reference.added.items()}


def _is_byte_level(described: dict[str, Any]) -> bool:
    model, normalizer, before = described["model"], described["normalizer"], described["pre_tokenizer"]
    if model.get("type") != "BPE" or model.get("byte_fallback") or normalizer not in (None, {"type": "NFC"}):
        return False
    steps = before.get("pretokenizers", [before]) if before else []
    if not any(step.get("type") == "ByteLevel" and not step.get("add_prefix_space") for step in steps):
        return False
    alphabet = set(ByteLevel.alphabet())
    special = {token["content"] for token in described["added_tokens"]}
    return all(alphabet.issuperset(token) for token in model["vocab"] if token not in special)
