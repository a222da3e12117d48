"""Trusting a fast tokenizer no further than it was seen to give what the reference gives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from worker.tokens.fast import load_fast
from worker.tokens.hard_texts import hard_texts
from worker.tokens.reference import HuggingFaceTokenizer
from worker.tokens.tokenizer import TextTokenizer, Tokens

log = structlog.get_logger()

#: The first batch of a dataset that is fast: loading takes about as long as the reference takes for those before it.
FIRST_FAST = 8
#: Of the batches from there on the reference sees the first few, too, and after those one in so many.
_CHECKED_FIRST = 4
_CHECKED_EVERY = 64


class Distrusted(Exception):
    """The fast tokenizer failed, or gave something else than the reference: what it gave so far is worth nothing."""


def load_trusted(reference: HuggingFaceTokenizer) -> TextTokenizer | None:
    """Return the fast tokenizer where there is one and it gives what the reference gives on the hard texts."""
    fast = load_fast(reference)
    if fast is None:
        return None
    texts = hard_texts(list(reference.added.values()))
    try:
        _compare(texts, fast.tokenize(texts), reference.tokenize(texts))
    except Exception as error:  # noqa: BLE001 - a library that is young: whatever it raises, the reference remains
        log.warning("tokenizer.distrusted", reason=str(error))
        return None
    return fast


class TrustedTokenizer:
    """A TextTokenizer for the texts of one dataset, batch by batch: fast where that was seen to be the same.

    ``load`` is asked for a fast tokenizer at the 8th batch: a small dataset needs none. From there on it is compared
    with the reference on four batches, and then on one in 64: ids, and the tokens of a few spans.

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
        with _distrust():
            found = fast.tokenize(texts)
            if check:
                _compare(texts, found, self._reference.tokenize(texts))
            return found

    def ids(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Return the token ids of each text of the next batch."""
        fast, check = self._next()
        if fast is None:
            return self._reference.ids(texts)
        with _distrust():
            found = fast.ids(texts)
            if check and [list(ids) for ids in found] != self._reference.ids(texts):
                raise Distrusted("other ids")
            return found

    def _next(self) -> tuple[TextTokenizer | None, bool]:
        self._batches += 1
        if self._batches == FIRST_FAST:
            self._fast = self._load()
        check = self._batches < FIRST_FAST + _CHECKED_FIRST or self._batches % _CHECKED_EVERY == 0
        return self._fast, check


@contextmanager
def _distrust() -> Iterator[None]:
    """Say why the fast tokenizer is not trusted any more, whatever it raised, and raise Distrusted."""
    try:
        yield
    except Exception as error:
        log.warning("tokenizer.distrusted", reason=str(error))
        raise Distrusted(str(error)) from error


def _compare(texts: Sequence[str], found: Sequence[Tokens], expected: Sequence[Tokens]) -> None:
    for text, fast, reference in zip(texts, found, expected, strict=True):
        if list(fast.ids) != list(reference.ids):
            raise Distrusted(f"other ids for {text[:80]!r}")
        third = len(text) // 3
        for start, end in ((0, len(text)), (third, 2 * third), (third, len(text)), (third, third + 1)):
            if start < end <= len(text) and fast.within(start, end) != reference.within(start, end):
                raise Distrusted(f"other tokens in characters {start} to {end} of {text[:80]!r}")
