"""A digest a line, written to a file while a dataset is scanned: what its copies are found by afterwards."""

from collections.abc import Sequence
from os import SEEK_CUR
from typing import BinaryIO

from xxhash import xxh3_128_digest

#: Bytes of an entry: a line is taken to be its 128-bit digest.
DIGEST_BYTES = 16

#: Longer runs of empty entries are left as a hole in the file, which costs no disk; shorter ones are not worth a seek.
_HOLE_ENTRIES = 4096


class LineDigests:
    """Writes one entry a line to ``spool``, a seekable binary file open for writing at its start; not for appending.

    Entry n (from 0) is that of line n + 1; a line that does not count has an entry of zeros. That the digest of a real
    line is all zeros has a chance of 2**-128: it would not be compared. xxHash is no cryptographic hash: who makes
    lines on purpose that collide gets wrong warnings about their own data, nothing else.

    The spool is buffered and closed by whoever opened it. Not for two threads at once.
    """

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._skipped = 0

    def add(self, lines: Sequence[bytes]) -> None:
        """Append the entries of lines that count. Blocks. Raises OSError where the disk is full."""
        if not lines:
            return
        self._write_skipped()
        self._spool.write(b"".join(map(xxh3_128_digest, lines)))

    def skip(self, count: int) -> None:
        """Append ``count`` empty entries, in no time and memory. After the last line that counts none are written."""
        self._skipped += count

    def _write_skipped(self) -> None:
        size = self._skipped * DIGEST_BYTES
        if self._skipped > _HOLE_ENTRIES:
            self._spool.seek(size, SEEK_CUR)
        elif size:
            self._spool.write(bytes(size))
        self._skipped = 0
