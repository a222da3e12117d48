"""From characters to tokens, by the offsets a tokenizer gives."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

from tokenizers import Tokenizer

Offsets = Sequence[tuple[int, int]]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def tokens_within(offsets: Offsets, start: int, end: int) -> tuple[int, int]:
    """Return (first, end) of the tokens with a character in [start, end). Offsets rise at both ends."""
    first = bisect_right(offsets, start, key=itemgetter(1))
    last = bisect_left(offsets, end, lo=first, key=itemgetter(0))
    return first, last


class ByteRuns:
    """Cuts runs of byte tokens that have one offset together.

    A SentencePiece vocabulary spells what it does not know in tokens like ``<0xE5>``, a byte each. A Unigram model
    gives the tokens of several unknown characters in a row the offsets of the whole row: a line break and the Chinese
    answer behind it, say, of which only the latter is trained.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._normalizer = tokenizer.normalizer
        self._bytes = {
            number: bytes.fromhex(found[1])
            for token, number in tokenizer.get_vocab(with_added_tokens=False).items()
            if (found := _BYTE_TOKEN.fullmatch(token))
        }

    def cut(self, text: str, ids: Sequence[int], offsets: Offsets, token: int, at: int, *, default: int) -> int:
        """Return the first token behind character ``at``, where ``token`` is in a run that straddles it.

        ``default`` where it is in none, or where the run's bytes are not those of its text.
        """
        if not 0 <= token < len(ids) or not self._bytes or ids[token] not in self._bytes:
            return default
        start, end = offsets[token]
        if not start < at < end:
            return default
        low, high = bisect_left(offsets, (start, end)), bisect_right(offsets, (start, end))
        run = b"".join(self._bytes.get(number, b"?") for number in ids[low:high])
        before, behind = self._normalized(text[start:at]), self._normalized(text[at:end])
        return low + len(before) if before + behind == run else default

    def _normalized(self, text: str) -> bytes:
        return (self._normalizer.normalize_str(text) if self._normalizer else text).encode()
