"""Seeded choices in arithmetic on 64-bit words: the same on any machine, and made for any sample without the others."""

from hashlib import sha256
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: Ranks looked at together.
_BLOCK = 1 << 16

#: The first look at keys is by so many of their bits.
_BITS = 16

#: Parts in which the split is made: a percent is 100 of them.
_PARTS = 10_000


def key_of(*parts: object) -> int:
    """Return a 64-bit key that follows from texts and numbers."""
    return int.from_bytes(sha256("\0".join(map(str, parts)).encode()).digest()[:8], "little")


def mixed(words: Words, key: int) -> Words:
    """Return words in which every bit depends on every bit of a word and the key: SplitMix64.

    Distinct words stay distinct. Overflow is meant.
    """
    found = words * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    found ^= found >> np.uint64(30)
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(27)
    found *= np.uint64(0x94D049BB133111EB)
    return found ^ (found >> np.uint64(31))


def held_out(contents: Words, seed: int, percent: int) -> NDArray[np.bool_]:
    """Return which samples go to validation, by (half of) the digests of their content and the seed alone.

    So a line keeps its side whatever else is there, two that say the same are on one side, and a greater share only
    adds to a smaller one's.
    """
    return mixed(contents, key_of("validation", seed)) % np.uint64(_PARTS) < np.uint64(percent * _PARTS // 100)


class Draw(NamedTuple):
    """``count`` draws from ``total`` samples, by their ranks: whole passes, then a seeded part of another.

    Every part of the right size is equally likely. Nothing is kept of the single samples: the part are those whose
    keys are at most ``last``.
    """

    passes: int
    key: int
    last: int | None

    @classmethod
    def of(cls, total: int, count: int, *seed: object) -> Self:
        """Return a draw. Of nothing, nothing is drawn. Takes time for each sample, and no memory."""
        passes, part = divmod(count, total) if total else (0, 0)
        key = key_of("draw", *seed)
        return cls(passes, key, _last(total, part, key) if part else None)

    def times(self, first: int, size: int) -> NDArray[np.int64]:
        """Return how often each of the samples [first, first + size) is drawn."""
        found = np.full(size, self.passes, np.int64)
        if self.last is not None:
            found += _keys(first, size, self.key) <= np.uint64(self.last)
        return found


def order_of(total: int, *seed: object) -> NDArray[np.int64]:
    """Return the ranks of so many samples in a seeded order.

    The first k of it are those that ``Draw.of(total, k, *seed)`` draws. Holds 16 bytes a sample, and returns 8 of them.
    """
    key, keys = key_of("draw", *seed), np.empty(total, np.uint64)
    for first in range(0, total, _BLOCK):
        size = min(_BLOCK, total - first)
        keys[first : first + size] = _keys(first, size, key)
    return np.argsort(keys)


def _keys(first: int, size: int, key: int) -> Words:
    return mixed(np.arange(first, first + size, dtype=np.uint64), key)


def _last(total: int, part: int, key: int) -> int:
    """Return the part-th smallest key of all ranks: first which of many bins it is in, then which of these keys."""
    shift = np.uint64(64 - _BITS)
    blocks = [(first, min(_BLOCK, total - first)) for first in range(0, total, _BLOCK)]
    sizes = np.zeros(1 << _BITS, np.int64)
    for first, size in blocks:
        sizes += np.bincount((_keys(first, size, key) >> shift).astype(np.int64), minlength=1 << _BITS)
    ends = np.cumsum(sizes)
    place = int(np.searchsorted(ends, part))
    inside = [keys[keys >> shift == np.uint64(place)] for keys in (_keys(*block, key) for block in blocks)]
    rank = part - 1 - int(ends[place] - sizes[place])
    return int(np.partition(np.concatenate(inside), rank)[rank])
