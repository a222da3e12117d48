"""A set of line numbers, as a bitmap: any number of lines of a file in an eighth of a byte each."""

from collections.abc import Iterator
from hashlib import sha256


class LineSet:
    """Line numbers from 0. Memory is one bit for each number up to the highest, in or not: 12.5 MB for 100 million."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, line: int) -> None:
        """Put a line in; one that is in stays."""
        place, bit = divmod(line, 8)
        if place >= len(self._bits):
            self._bits.extend(bytes(place + 1 - len(self._bits)))
        self._bits[place] |= 1 << bit

    def __contains__(self, line: int) -> bool:
        place, bit = divmod(line, 8)
        return place < len(self._bits) and bool(self._bits[place] & 1 << bit)

    def __iter__(self) -> Iterator[int]:
        for place, bits in enumerate(self._bits):
            if bits:
                yield from (8 * place + bit for bit in range(8) if bits & 1 << bit)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the lines, the same wherever they are the same; empty where there are none."""
        return sha256(self._bits).hexdigest() if self._bits else ""
