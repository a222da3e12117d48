"""Trusting a fast tokenizer no further than it was seen to give what the reference gives."""

from collections.abc import Callable, Sequence

import structlog

from worker.tokens.hard_texts import hard_texts
from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.tokenizer import TextTokenizer, Tokens

log = structlog.get_logger()

#: Of the batches of a dataset the reference sees the first ones, and after those one in so many.
_CHECKED_FIRST = 4
_CHECKED_EVERY = 64


class Distrusted(Exception):
    """The fast tokenizer failed, or gave something else than the reference: what it gave so far is worth nothing."""


class TrustedTokenizer:
    """A TextTokenizer for the texts of one dataset, batch by batch: fast where that was seen to be the same.

    It is tried on the hard texts before the second batch, so that a dataset of one batch never loads it, and compared
    with the reference on the first batches and on one in 64 after them: ids, and the tokens of a few spans.

    Methods raise Distrusted at the first difference, whatever it was: count again, with the reference alone.
    """

    def __init__(self, reference: HuggingFaceTokenizer, load: Callable[[], TextTokenizer | None]) -> None:
        self._reference, self._load = reference, load
        self._fast: TextTokenizer | None = None
        self._batches = 0

    def tokenize(self, texts: Sequence[str]) -> Sequence[Tokens]:
        """Return the tokens of each text of the next batch."""
        fast, check = self._next()
        if fast is None:
            return self._reference.tokenize(texts)
        try:
            found = fast.tokenize(texts)
        except Exception as error:
            raise _distrusted(str(error)) from error
        if check:
            _compare(texts, found, self._reference.tokenize(texts))
        return found

    def ids(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Return the token ids of each text of the next batch."""
        fast, check = self._next()
        if fast is None:
            return self._reference.ids(texts)
        try:
            found = fast.ids(texts)
        except Exception as error:
            raise _distrusted(str(error)) from error
        if check and [list(ids) for ids in found] != self._reference.ids(texts):
            raise _distrusted("other ids")
        return found

    def _next(self) -> tuple[TextTokenizer | None, bool]:
        self._batches += 1
        if self._batches == 2:
            self._fast = self._load()
            if self._fast:
                texts = hard_texts(list(self._reference.added.values()))
                try:
                    found = self._fast.tokenize(texts)
                except Exception as error:
                    raise _distrusted(str(error)) from error
                _compare(texts, found, self._reference.tokenize(texts))
        return self._fast, self._batches <= _CHECKED_FIRST or self._batches % _CHECKED_EVERY == 0


def _compare(texts: Sequence[str], found: Sequence[Tokens], expected: Sequence[Tokens]) -> None:
    for text, fast, reference in zip(texts, found, expected, strict=True):
        if list(fast.ids) != list(reference.ids):
            raise _distrusted(f"other ids for {text[:80]!r}")
        third = len(text) // 3
        for start, end in ((0, len(text)), (third, 2 * third), (third, len(text)), (third, third + 1)):
            if start < end <= len(text) and fast.within(start, end) != reference.within(start, end):
                raise _distrusted(f"other tokens in characters {start} to {end} of {text[:80]!r}")


def _distrusted(reason: str) -> Distrusted:
    log.warning("tokenizer.distrusted", reason=reason)
    return Distrusted(reason)
