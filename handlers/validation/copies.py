"""Finding every copy of a line in a whole dataset, exactly and in bounded memory, once its lines have digests."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from handlers.validation.line_digests import DIGEST_BYTES

#: Of a search, beyond numpy itself.
MEMORY_BYTES = 32 << 20


class Copy(NamedTuple):
    """A line and the first line of the dataset with the same bytes. Files count from 0, lines from 1."""

    file: int
    line: int
    first_file: int
    first_line: int


def find_copies(
    spools: Sequence[Path], *, memory_bytes: int = MEMORY_BYTES, skip_files: frozenset[int] = frozenset()
) -> Iterator[Copy]:
    """Yield every copy in the order of (file, line), given what LineDigests wrote of each file, closed.

    Files in ``skip_files`` are not read: their lines are neither copies nor the first of anything. Lines are the same
    where their 128-bit digests are.

    Blocks, most of it before the first copy. Changes nothing and depends on the spools alone: may be called again.
    Holds about ``memory_bytes``, whatever the number of lines or copies. On disk it takes some 24 bytes a line and 16 a
    copy at most, in a directory beside the first spool that is gone when the iterator ends or is closed.

    Raises:
        OSError: a spool cannot be read, or the disk is full.
    """
    lines = [0 if file in skip_files else spool.stat().st_size // DIGEST_BYTES for file, spool in enumerate(spools)]
    starts = list(accumulate(lines, initial=0))
    if not starts[-1]:
        return
    # Not at the top: numpy costs some 0.2 s and 20 MB, and a worker and its scans do without.
    from handlers.validation.copy_order import CopyOrder, places  # noqa: PLC0415 - the reason is above
    from handlers.validation.copy_search import search  # noqa: PLC0415 - the same

    with TemporaryDirectory(prefix="copies-", dir=spools[0].parent) as name:
        directory = Path(name)
        with CopyOrder(directory, starts[-1], memory_bytes) as order:
            search(spools, starts, directory, memory_bytes, order.add)
        for block in order.blocks():
            yield from map(Copy, *places(block[:, 0], starts), *places(block[:, 1], starts))
