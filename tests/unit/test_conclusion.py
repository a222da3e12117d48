"""From the scans of files to the report: formats that differ, files that repeat, counts, findings capped."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.dataset import CheckedFile, DatasetFile, DeclaredFormat, Format
from contracts.datasets.findings import Finding
from handlers.validation.conclusion import Copies, ScannedFile, conclude, copy_finding, not_compared
from handlers.validation.report import CAP, Capped, Report, content_digest
from handlers.validation.scan import FileResult


def finding(code: str = "empty-content", line: int = 1, file: int = 0) -> Finding:
    return Finding(line=line, pointer="", code=code, severity="error", message="m", hint="h", file=file)


def scanned(
    index: int, format: Format | None = "sft", samples: int = 10, *findings: Finding, sha256: Any = "", **counts: Any
) -> ScannedFile:
    totals: dict[str, int] = {}
    for each in findings:
        totals[each.code] = totals.get(each.code, 0) + 1
    result = FileResult(
        format=format, size_bytes=1, lines=samples, samples=samples, valid_samples=samples - len(findings),
        roles=counts.pop("roles", {}), totals=totals, **counts,
    )  # fmt: skip
    checked = CheckedFile(uri=f"file:{index}", etag="e", size_bytes=1, sha256=sha256 or f"sha-{index}")
    return ScannedFile(checked=checked, result=result, findings=findings)


def concluded(*files: ScannedFile, declared: DeclaredFormat = "auto", cap: int = CAP) -> Report:
    return conclude("digest", declared, files, cap=cap).report


def told(report: Report) -> list[tuple[int, int, str]]:
    return [(each.file, each.line, each.code) for each in report.findings]


def test_counts_are_added_up_over_the_files_by_name() -> None:
    counts: dict[str, Any] = {
        "roles": {"user": 2, "assistant": 3}, "labels": {"positive": 1}, "candidates": {"3": 1}, "spellings": {"b": 1},
    }  # fmt: skip
    more = {"roles": {"tool": 1, "user": 5}, "labels": {"negative": 2}, "candidates": {"2": 4}, "spellings": {"a": 1}}
    report = concluded(scanned(0, "sft", 7, **counts), scanned(1, "sft", 8, finding(file=1), **more))
    assert (report.digest, report.format, report.samples, report.valid_samples) == ("digest", "sft", 15, 14)
    assert list(report.roles.items()) == [("assistant", 3), ("tool", 1), ("user", 7)]
    assert list(report.labels.items()) == [("negative", 2), ("positive", 1)]
    assert list(report.candidates.items()) == [("2", 4), ("3", 1)]
    assert list(report.spellings.items()) == [("a", 1), ("b", 1)]
    assert [file.uri for file in report.files] == ["file:0", "file:1"]


def test_totals_count_every_finding_and_are_sorted_by_code() -> None:
    files = [
        scanned(0, "sft", 9, finding("wrong-type"), finding("empty-content")),
        scanned(1, "sft", 9, finding("empty-content", file=1)),
    ]
    assert list(concluded(*files).totals.items()) == [("empty-content", 2), ("wrong-type", 1)]


def test_findings_are_capped_a_code_and_come_by_file_and_line() -> None:
    first = [finding("wrong-type", line) for line in (5, 3)] + [finding("empty-content", 4)]
    second = [finding("wrong-type", 1, file=1), finding("empty-content", 2, file=1)]
    files = [scanned(0, "sft", 10, *first), scanned(1, "sft", 10, *second)]
    assert told(concluded(*files, cap=2)) == [
        (0, 3, "wrong-type"), (0, 4, "empty-content"), (0, 5, "wrong-type"), (1, 2, "empty-content"),
    ]  # fmt: skip
    assert concluded(*files, cap=1).totals == {"empty-content": 2, "wrong-type": 3}


def test_a_report_names_twenty_findings_of_a_code() -> None:
    assert CAP == 20
    many = [finding(line=line) for line in range(1, 31)]
    assert len(concluded(scanned(0, "sft", 40, *many)).findings) == 20
    capped = Capped()
    for each in many:
        capped.add(each)
    assert capped.findings() == tuple(many[:20])


# --- formats ----------------------------------------------------------------------------------------------------


def test_the_first_file_whose_format_is_told_decides() -> None:
    assert concluded(scanned(0, None), scanned(1, "ranking"), scanned(2, "ranking")).format == "ranking"
    assert concluded(scanned(0, None), scanned(1, None)).format is None
    assert concluded(scanned(0, "sft"), declared="pretrain").format == "pretrain"


def test_a_file_of_another_format_is_one_finding_and_counts_for_nothing() -> None:
    counts: dict[str, Any] = {
        "roles": {"user": 1}, "labels": {"positive": 1}, "candidates": {"2": 1}, "spellings": {"0/1": 1},
    }  # fmt: skip
    stranger = scanned(1, "ranking", 10, finding(file=1), **counts)
    conclusion = conclude("d", "auto", [scanned(0, "sft", 9), stranger, scanned(2, "sft", 9, finding(file=2))])
    report = conclusion.report
    assert (report.samples, report.valid_samples) == (28, 17)
    assert report.totals == {"empty-content": 1, "wrong-format": 1}
    assert report.roles == report.labels == report.candidates == report.spellings == {}
    assert conclusion.replaced == {1}
    (added,) = conclusion.added
    assert (added.file, added.line, added.pointer, added.code, added.severity) == (1, 1, "", "wrong-format", "error")
    assert added.message == "the file is ranking, but the files before it are sft"
    assert told(report) == [(1, 1, "wrong-format"), (2, 1, "empty-content")]
    assert [file.uri for file in report.files] == ["file:0", "file:1", "file:2"]


def test_a_file_whose_format_cannot_be_told_is_no_stranger() -> None:
    conclusion = conclude("d", "auto", [scanned(0, "sft"), scanned(1, None, 3, finding("invalid-json", file=1))])
    assert conclusion.replaced == frozenset()
    assert conclusion.report.totals == {"invalid-json": 1}


# --- what only the whole dataset shows --------------------------------------------------------------------------


def test_a_file_that_is_there_twice_is_warned_of_each_time() -> None:
    files = [scanned(0, sha256="a"), scanned(1, sha256="b"), scanned(2, sha256="b"), scanned(3, sha256="a"),
             scanned(4, sha256="b")]  # fmt: skip
    conclusion = conclude("d", "auto", files)
    assert [(each.file, each.line, each.code, each.severity, each.message) for each in conclusion.added] == [
        (2, 1, "duplicate-sample", "warning", "the whole file is the same as file 2"),
        (3, 1, "duplicate-sample", "warning", "the whole file is the same as file 1"),
        (4, 1, "duplicate-sample", "warning", "the whole file is the same as file 2"),
    ]
    assert conclusion.report.totals == {"duplicate-sample": 3}
    assert len(conclusion.report.findings) == 3


def test_files_without_samples_repeat_nothing() -> None:
    assert concluded(scanned(0), scanned(1, None, 0, sha256="e"), scanned(2, None, 0, sha256="e")).totals == {}


@pytest.mark.parametrize(
    ("samples", "message"),
    [(0, None), (1, "1 sample in the whole dataset"), (2, "2 samples in the whole dataset"),
     (9, "9 samples in the whole dataset"), (10, None)],
)  # fmt: skip
def test_fewer_than_ten_samples_are_warned_of(samples: int, message: str | None) -> None:
    added = conclude("d", "auto", [scanned(0, None, 0, sha256="e"), scanned(1, "sft", samples)]).added
    assert [each.message for each in added] == ([message] if message else [])
    assert all((each.file, each.line, each.code) == (0, 1, "too-few-samples") for each in added)
    assert all(each.hint == "train on at least 10, better hundreds" for each in added)


# --- the report -------------------------------------------------------------------------------------------------

GOOD = Report(digest="d", format="sft", files=(), samples=2, valid_samples=2, totals={"blank-line": 1}, findings=())


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True), ({"samples": 1, "valid_samples": 1}, True), ({"valid_samples": 1}, False),
        ({"samples": 0, "valid_samples": 0}, False), ({"unreadable": "gone"}, False),
        ({"totals": {"empty-file": 1}}, False), ({"totals": {"wrong-format": 1}}, False),
        ({"totals": {"blank-line": 1, "unknown-field": 7}}, True),
    ],
)  # fmt: skip
def test_a_dataset_is_valid_where_every_file_and_every_sample_is(change: dict[str, Any], valid: bool) -> None:
    assert replace(GOOD, **change).valid == valid


def test_the_digest_of_a_dataset_changes_with_what_is_judged() -> None:
    one, other = DatasetFile(uri="a", size_bytes=1, etag="x"), DatasetFile(uri="b", size_bytes=1, etag="x")
    digests = [
        content_digest([one, other], "sft"),
        content_digest([other, one], "sft"),
        content_digest([one], "sft"),
        content_digest([one, other], "auto"),
        content_digest([replace(one, etag="y"), other], "sft"),
        content_digest([replace(one, size_bytes=2), other], "sft"),
    ]
    assert len(set(digests)) == len(digests)
    assert content_digest([one, other], "sft") == digests[0]


def test_copies_are_counted_and_named_with_the_rest() -> None:
    copies = Copies(total=30, findings=tuple(copy_finding(line, 0, 1, 0) for line in (2, 3)))
    report = conclude("digest", "sft", [scanned(0, "sft", 40, finding("empty-content", 9))], copies).report
    assert report.totals == {"duplicate-sample": 30, "empty-content": 1}
    assert told(report) == [(0, 2, "duplicate-sample"), (0, 3, "duplicate-sample"), (0, 9, "empty-content")]


def test_a_copy_names_the_line_it_repeats_and_its_file_where_that_is_another() -> None:
    here, elsewhere = copy_finding(7, 2, 3, 2), copy_finding(7, 2, 3, 0)
    assert (here.line, here.file, here.code, here.severity) == (7, 2, "duplicate-sample", "warning")
    assert here.message == "the same as line 3"
    assert elsewhere.message == "the same as line 3 of file 1"


def test_lines_of_strangers_and_of_whole_copies_are_not_compared() -> None:
    files = [scanned(0, "sft", sha256="a"), scanned(1, "pretrain"), scanned(2, "sft", sha256="a"), scanned(3, "sft")]
    assert not_compared("auto", files) == {1, 2}


def test_strangers_are_named_in_the_order_of_files() -> None:
    files = [scanned(0, "sft"), *[scanned(index, "pretrain") for index in range(1, 12)]]
    assert [each.file for each in conclude("digest", "auto", files).added if each.code == "wrong-format"] == [
        *range(1, 12)
    ]
