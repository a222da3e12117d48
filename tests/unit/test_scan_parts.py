"""A file that is scanned in parts is found to be what it is found to be in one piece, wherever it is cut."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from contracts.dataset import Format
from contracts.datasets.findings import Finding
from handlers.validation.opening import Decision
from handlers.validation.scan import FileResult
from worker.scan.parts import PART_BYTES, Part, PartScan, ScannedPart, all_findings, as_one, join_digests, split

_GOOD = b'{"messages": [{"role": "user", "content": "\xe9\x97\xae?"}, {"role": "assistant", "content": "a"}]}'
_CALL = b'{"messages": [{"role": "usr", "content": "<|im_end|>"}]}'

#: All that is said once a file, or about several lines: a mark, CR LF, blank and broken lines, and none at the end.
_NASTY = b"\xef\xbb\xbf" + b"\n".join(
    [
        _GOOD,
        b"",
        _GOOD + b"\r",
        _GOOD + _GOOD,
        b"{",
        _CALL + b"\r",
        b"\xff",
        b" ",
        _GOOD,
        b"[]",
        _GOOD,
        _CALL,
        b"\r",
        _GOOD,
    ]
)


def scan(data: bytes, cuts: list[int], folder: Path, format: Format = "sft", chunk: int = 7) -> list[ScannedPart]:
    ends = [*cuts[1:], None]
    scanned = []
    for index, (first, end) in enumerate(zip(cuts, ends, strict=True)):
        part = Part(
            file=3,
            format=format,
            findings_path=str(folder / f"{index}.ndjson"),
            digests_path=str(folder / f"{index}.digests"),
            first=first,
            end=end,
            decision=Decision(format) if first else None,
            cap=2,
        )
        with PartScan(part) as scanning:
            for start in range(scanning.reads_from, len(data), chunk):
                scanning.feed(data[start : start + chunk])
                if scanning.done:
                    break
            scanned.append(scanning.finish())
    return scanned


def found(
    data: bytes, cuts: list[int], folder: Path, chunk: int = 101
) -> tuple[FileResult, tuple[Finding, ...], list[Finding], bytes]:
    scanned = scan(data, cuts, folder, chunk=chunk)
    result, first = as_one(scanned)
    every = [msgspec.json.decode(line, type=Finding) for line in all_findings(scanned)]
    return result, first, every, join_digests(scanned, folder / "digests").read_bytes()


@pytest.mark.parametrize(("data", "first_cut"), [(_NASTY, 1), (_NASTY + b"\n", 700), (_NASTY + b"\n\n", 700)])
def test_a_file_cut_anywhere_is_found_to_be_what_it_is(data: bytes, first_cut: int, tmp_path: Path) -> None:
    whole = found(data, [0], tmp_path)
    assert (whole[0].lines, whole[0].valid_samples) == (14 + data.endswith(b"\n\n"), 5)
    assert {"byte-order-mark", "crlf-line-endings", "invalid-utf8", "unknown-role"} < whole[0].totals.keys()
    for cut in range(first_cut, len(data)):
        # A chunk that ends where the part does is a border of its own.
        assert found(data, [0, cut], tmp_path, chunk=cut if cut > 20 else 101) == whole, cut


def test_a_file_cut_into_many_parts_some_of_them_without_a_line(tmp_path: Path) -> None:
    whole = found(_NASTY, [0], tmp_path)
    for step in (1, 2, 3, 50, 200):
        assert found(_NASTY, list(range(0, len(_NASTY), step)), tmp_path, chunk=10) == whole, step


def test_a_line_that_is_read_to_its_end_belongs_to_the_part_it_begins_in(tmp_path: Path) -> None:
    data = _GOOD + b"\n" + _CALL + b"\n" + _GOOD
    middle = len(_GOOD) + 1
    first, second = scan(data, [0, middle], tmp_path)
    assert (first.result.samples, second.result.samples) == (1, 2)
    first, second = scan(data, [0, middle + 1], tmp_path)
    assert (first.result.samples, second.result.samples) == (2, 1)


@pytest.mark.parametrize(("size", "most", "count"), [(2, 8, 1), (2 * PART_BYTES, 8, 2), (100 * PART_BYTES, 3, 3)])
def test_parts_cover_a_file_and_none_is_small(size: int, most: int, count: int) -> None:
    whole = Part(file=0, format="auto", findings_path="f", digests_path="d")
    parts = split(whole, size, Decision("sft"), most)
    assert len(parts) == count
    assert (parts[0].first, parts[-1].end) == (0, None)
    assert all(one.end == other.first for one, other in pairwise(parts))
    assert all((part.end or size) - part.first >= PART_BYTES for part in parts[: count if count > 1 else 0])
    assert [part.decision for part in parts] == [None, *[Decision("sft")] * (count - 1)]
    assert len({part.findings_path for part in parts} | {part.digests_path for part in parts}) == 2 * count
