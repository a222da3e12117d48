"""Finding repeated lines in bounded memory."""

from hashlib import blake2b


class EarlierLines:
    """Remembers lines by a 64-bit digest, in a table of a fixed size: 16 bytes a slot, touched only where used.

    Finds every copy while the table is at most half full (half a million lines by default); past that an earlier copy
    may be missed, never invented. Deterministic: depends on the lines and their order alone.
    """

    _PROBES = 64

    def __init__(self, slots: int = 1 << 20) -> None:
        assert slots & (slots - 1) == 0, "a power of two"
        self._mask = slots - 1
        self._digests = memoryview(bytearray(8 * slots)).cast("Q")
        self._numbers = memoryview(bytearray(8 * slots)).cast("Q")

    def see(self, line: bytes, number: int) -> int | None:
        """Return the number of an earlier line with these bytes, or None; then it is remembered."""
        digest = int.from_bytes(blake2b(line, digest_size=8).digest(), "little") or 1
        for probe in range(self._PROBES):
            slot = (digest + probe) & self._mask
            if self._digests[slot] == digest:
                return self._numbers[slot]
            if not self._digests[slot]:
                self._digests[slot], self._numbers[slot] = digest, number
                return None
        # The neighbourhood is full: one line of it is forgotten.
        slot = digest & self._mask
        self._digests[slot], self._numbers[slot] = digest, number
        return None
