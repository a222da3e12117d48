from io import BytesIO
from pathlib import Path

import pytest

from handlers.validation.line_digests import DIGEST_BYTES, LineDigests


def entries(written: bytes) -> list[bytes]:
    assert len(written) % DIGEST_BYTES == 0
    return [written[start : start + DIGEST_BYTES] for start in range(0, len(written), DIGEST_BYTES)]


NONE = bytes(DIGEST_BYTES)


def test_an_entry_stands_at_the_place_of_its_line() -> None:
    spool = BytesIO()
    digests = LineDigests(spool)
    digests.add([b"a", b"b"])
    digests.skip(1)
    digests.skip(2)
    digests.add([])
    digests.add([b"a"])
    first, second, *empty, last = entries(spool.getvalue())
    assert first == last
    assert second not in {first, NONE}
    assert empty == [NONE] * 3


def test_lines_that_differ_have_other_digests_and_even_an_empty_one_has_one() -> None:
    spool = BytesIO()
    lines = [b"", b" ", b"\0", b"\0\0", "孤灯".encode(), *(str(number).encode() for number in range(10_000))]
    LineDigests(spool).add(lines)
    written = entries(spool.getvalue())
    assert len(set(written)) == len(lines)
    assert NONE not in written


@pytest.mark.parametrize("count", [1, 4096, 4097, 100_000])
def test_skipped_lines_move_the_next_entry(count: int) -> None:
    spool = BytesIO()
    digests = LineDigests(spool)
    digests.skip(count)
    digests.add([b"a"])
    *empty, last = entries(spool.getvalue())
    assert empty == [NONE] * count
    assert last != NONE


def test_a_hundred_million_skipped_lines_cost_neither_memory_nor_disk(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with path.open("wb") as spool:
        digests = LineDigests(spool)
        digests.add([b"a"])
        digests.skip(10**8)
        digests.add([b"b"])
        digests.skip(10**8)
    stat = path.stat()
    assert stat.st_size == (10**8 + 2) * DIGEST_BYTES
    assert stat.st_blocks * 512 < 1 << 20
