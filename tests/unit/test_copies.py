import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from handlers.validation.copies import MEMORY_BYTES, Copy, find_copies
from handlers.validation.line_digests import LineDigests

#: The lines of a file; None is a line that does not count.
File = Sequence[bytes | None]


def write_spools(directory: Path, files: Sequence[File]) -> list[Path]:
    """Write the lines' digests, as a scan does."""
    paths = []
    for number, lines in enumerate(files):
        paths.append(directory / f"{number}.digests")
        with paths[-1].open("wb") as spool:
            digests = LineDigests(spool)
            for line in lines:
                if line is None:
                    digests.skip(1)
                else:
                    digests.add([line])
    return paths


def brute_force(files: Sequence[File], skip_files: frozenset[int] = frozenset()) -> list[Copy]:
    first: dict[bytes, tuple[int, int]] = {}
    copies = []
    for file, lines in enumerate(files):
        for number, line in enumerate(lines, start=1):
            if line is None or file in skip_files:
                continue
            earlier = first.setdefault(line, (file, number))
            if earlier != (file, number):
                copies.append(Copy(file, number, *earlier))
    return copies


LINES = st.none() | st.integers(0, 60).map(lambda number: str(number).encode())
FILES = st.lists(st.lists(LINES, max_size=120), max_size=5)


@settings(max_examples=150)
@given(files=FILES, memory_bytes=st.sampled_from([1, 2048, 8192, MEMORY_BYTES]), skip=st.frozensets(st.integers(0, 4)))
@example(files=[[], [b"a"], [], [], [b"a"], []], memory_bytes=1, skip=frozenset())
@example(files=[[b"a"] * 100, [b"a"] * 100], memory_bytes=1, skip=frozenset())
@example(files=[[None] * 50, [None, b"a", None, b"a", None]], memory_bytes=1, skip=frozenset())
def test_copies_are_those_that_a_dictionary_finds(
    files: Sequence[File], memory_bytes: int, skip: frozenset[int]
) -> None:
    with TemporaryDirectory() as name:
        spools = write_spools(Path(name), files)
        found = list(find_copies(spools, memory_bytes=memory_bytes, skip_files=skip))
        assert found == brute_force(files, skip)
        assert list(find_copies(spools, memory_bytes=memory_bytes, skip_files=skip)) == found


@pytest.mark.parametrize("memory_bytes", [1, 1 << 16, 1 << 20])
def test_far_apart_copies_are_found_through_splits_of_splits(tmp_path: Path, memory_bytes: int) -> None:
    """At the least memory 4 lines fit: 20,000 are split by 256, those parts by 32, and some of these again."""
    lines: list[bytes | None] = [str(number).encode() for number in range(8000)]
    files: list[File] = [lines, [None], lines[::-1], [*lines[:4000], *[b"again"] * 500]]
    found = list(find_copies(write_spools(tmp_path, files), memory_bytes=memory_bytes))
    assert found == brute_force(files)
    assert len(found) == 8000 + 4000 + 499


@pytest.mark.parametrize("shared", ["first half", "second half", "all but one byte", "32 bits"])
def test_digests_that_are_nearly_the_same_are_told_apart(tmp_path: Path, shared: str) -> None:
    """Digests made to collide wherever the search looks only at a part of them."""

    def digest(number: int) -> bytes:
        varied = number.to_bytes(2, "big")
        return {
            "first half": b"A" * 8 + varied * 4,
            "second half": varied * 4 + b"A" * 8,
            "all but one byte": b"A" * 15 + varied[1:],
            "32 bits": b"A" * 4 + varied * 6,
        }[shared]

    digests = [digest(number % 200 + 1) for number in range(500)]
    spool = tmp_path / "spool"
    spool.write_bytes(b"".join(digests))
    expected = brute_force([digests])
    assert len(expected) == 300
    assert list(find_copies([spool], memory_bytes=1)) == expected
    assert list(find_copies([spool])) == expected


def test_a_hole_of_many_lines_keeps_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with path.open("wb") as spool:
        digests = LineDigests(spool)
        digests.add([b"a"])
        digests.skip(3_000_000)
        digests.add([b"b", b"a"])
        digests.skip(10)
    other = tmp_path / "other"
    with other.open("wb") as spool:
        LineDigests(spool).add([b"b"])
    assert list(find_copies([path, other], memory_bytes=1 << 16)) == [
        Copy(file=0, line=3_000_003, first_file=0, first_line=1),
        Copy(file=1, line=1, first_file=0, first_line=3_000_002),
    ]


def test_nothing_is_left_beside_the_spools_not_even_by_who_stops_early(tmp_path: Path) -> None:
    files = [[str(number % 2000).encode() for number in range(4000)]]
    spools = write_spools(tmp_path, files)
    copies = find_copies(spools, memory_bytes=1)
    assert next(copies) == Copy(0, 2001, 0, 1)
    assert len(list(tmp_path.iterdir())) == 2
    copies.close()  # type: ignore[attr-defined] # a generator, as its callers need not know
    assert list(tmp_path.iterdir()) == spools


def test_no_spools_and_empty_spools_have_no_copies(tmp_path: Path) -> None:
    assert list(find_copies([])) == []
    assert list(find_copies(write_spools(tmp_path, [[], [None]]))) == []


SEARCH = """
import sys
from pathlib import Path
import numpy as np
from handlers.validation import copy_order, copy_search
from handlers.validation.copies import find_copies

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10

spool, lines, kinds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(7)
with spool.open("wb") as file:
    for _ in range(0, lines, 10_000):
        numbers = random.integers(1, kinds, 10_000, np.uint64)
        file.write(np.column_stack((numbers * np.uint64(0x9E3779B97F4A7C15), numbers)).tobytes())
before = peak()
count = sum(1 for _ in find_copies([spool], memory_bytes=4 << 20))
print(count, peak() - before)
"""


def searched(spool: Path, lines: int, kinds: int) -> tuple[int, int]:
    """Return how many copies a new process finds, and by how many bytes its memory grew at most."""
    command = [sys.executable, "-c", SEARCH, str(spool), str(lines), str(kinds)]
    count, grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(count), int(grown)


@pytest.mark.parametrize("kinds", [1 << 62, 50_000, 2], ids=["no copies", "nearly all copies", "one line alone"])
def test_memory_does_not_grow_with_the_number_of_lines(tmp_path: Path, kinds: int) -> None:
    _, small = searched(tmp_path / "small", 100_000, kinds)
    count, large = searched(tmp_path / "large", 1_500_000, kinds)
    assert count == max(0, 1_500_000 - min(kinds - 1, 1_500_000))
    # The spool has 24 MB, and the copies alone, as numbers, as much again.
    assert large < 10 << 20
    assert large - small < 6 << 20
