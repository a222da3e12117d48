"""Bytes to lines to findings: what does not depend on the rules of a format."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dataset import DeclaredFormat, Format
from contracts.datasets.findings import Finding, codes_of
from handlers.validation.lines import BlockCutter, Line, lines_of
from handlers.validation.scan import MAX_FINDINGS_A_LINE, FileResult, Scan, scan_stream


def line(number: int = 1, **fields: Any) -> bytes:
    messages = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"{number}!"}]
    return json.dumps({"messages": messages, **fields}).encode()


GOOD = line()
PREFERENCE = (
    b'{"messages":[{"role":"user","content":"a"},'
    b'{"role":"assistant","content":[{"text":"b","score":1},{"text":"c","score":0}]}]}'
)
PAIR = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","chosen":"b","rejected":"c"}]}'
RANKING = b'{"query": "q", "docs": [{"text": "a", "label": 1}]}'
PRETRAIN = b'{"text": "t"}'


def scan(
    body: bytes, format: DeclaredFormat = "sft", *, size: int = 1 << 16, max_line_bytes: int = 1 << 20
) -> tuple[FileResult, list[Finding]]:
    findings: list[Finding] = []
    scanning = Scan(format, findings.append, max_line_bytes=max_line_bytes)
    for start in range(0, len(body), size):
        scanning.feed(body[start : start + size])
    return scanning.finish(), findings


def found(body: bytes, format: DeclaredFormat = "sft", **options: int) -> list[tuple[int, str]]:
    return [(finding.line, finding.code) for finding in scan(body, format, **options)[1]]


def test_a_file_is_counted() -> None:
    body = line(1) + b"\n" + line(2) + b"\n\n" + b"{}\n"
    result, findings = scan(body)
    assert result == FileResult(
        format="sft",
        size_bytes=len(body),
        lines=4,
        samples=3,
        valid_samples=2,
        roles={"assistant": 2, "user": 2},
        totals={"blank-line": 1, "missing-field": 1},
    )
    assert [(finding.line, finding.code, finding.severity) for finding in findings] == [
        (3, "blank-line", "note"),
        (4, "missing-field", "error"),
    ]


def test_findings_name_the_file_and_the_place() -> None:
    findings: list[Finding] = []
    body = b'{"messages": [], "a/b~c": 1}'
    scan_stream([body], "sft", findings.append, file=3)
    assert [(finding.file, finding.code, finding.pointer) for finding in findings] == [
        (3, "unknown-field", "/a~1b~0c"),
        (3, "empty-messages", "/messages"),
    ]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b" \n", b"\r"])
def test_the_end_of_the_file_begins_no_line(end: bytes) -> None:
    result, findings = scan(GOOD + end)
    assert result.samples == result.valid_samples == 1
    assert {finding.code for finding in findings} <= {"crlf-line-endings"}


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_samples_is_empty(body: bytes) -> None:
    result, findings = scan(body)
    assert result.samples == 0
    assert [finding.code for finding in findings if finding.severity == "error"] == ["empty-file"]


def test_a_byte_order_mark_is_skipped_at_the_start_and_nowhere_else() -> None:
    assert found(b"\xef\xbb\xbf" + line(1) + b"\n\xef\xbb\xbf" + line(2)) == [
        (1, "byte-order-mark"),
        (2, "invalid-json"),
    ]


def test_windows_line_endings_are_noted_once() -> None:
    body = b"\r\n".join([line(1), line(2), b"", line(3)])
    assert found(body) == [(1, "crlf-line-endings"), (3, "blank-line")]
    assert scan(body)[1][0].hint == "nothing to do: it is read as LF"


def test_old_mac_line_endings_are_several_objects() -> None:
    assert found(line(1) + b"\r" + line(2)) == [(1, "several-objects-on-line")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"messages": "\xff"}', "invalid-utf8"),
        (b"\xff\xfe{\x00}\x00", "invalid-utf8"),
        (b'{"messages": "\xed\xa0\x80"}', "invalid-utf8"),
        (b"{", "invalid-json"),
        (b"{}}", "invalid-json"),
        (b"{} []", "invalid-json"),
        (b'{"a": 1e999}', "invalid-json"),
        (b"\x00", "invalid-json"),
        (b"[" * 5000, "invalid-json"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "invalid-json"),
        (b"1" * 5000, "invalid-json"),
        (b"[]", "not-an-object"),
        (b"null", "not-an-object"),
        (b'"text"', "not-an-object"),
    ],
)
def test_a_line_that_cannot_be_judged_is_one_finding(body: bytes, code: str) -> None:
    assert found(line(1) + b"\n" + body + b"\n" + line(2)) == [(2, code)]


@pytest.mark.parametrize("between", [b"", b" ", b",", b" , ", b"\t"])
def test_several_objects_on_a_line_are_all_judged(between: bytes) -> None:
    faulty = b'{"messages": []}'
    _, findings = scan(between.join([GOOD, faulty, GOOD]))
    assert [(finding.code, finding.pointer) for finding in findings] == [
        ("several-objects-on-line", ""),
        ("empty-messages", "/messages"),
    ]
    assert findings[0].message.startswith("3 objects")
    assert findings[1].message.startswith("object 2 of the line: ")


def test_so_many_objects_on_a_line_that_not_all_are_judged() -> None:
    result, findings = scan(GOOD * 1000)
    assert [finding.code for finding in findings] == ["several-objects-on-line"]
    assert (result.samples, result.valid_samples) == (1, 0)


def test_a_repeated_name_is_an_error_and_the_rest_is_judged() -> None:
    assert found(b'{"messages": [], "messages": [{"role": "user"}]}')[:1] == [(1, "duplicate-key")]


def test_a_line_may_have_a_thousand_findings_and_an_error_among_more_is_never_lost() -> None:
    unknown = {f"x{number}": 1 for number in range(5000)}
    result, findings = scan(line(1, **unknown) + b"\n" + json.dumps({**unknown, "messages": []}).encode())
    assert len([finding for finding in findings if finding.line == 1]) == MAX_FINDINGS_A_LINE
    assert [finding.code for finding in findings if finding.severity == "error"] == ["empty-messages"]
    assert result.valid_samples == 1


def test_endless_names_make_no_endless_findings() -> None:
    _, findings = scan(json.dumps({"x" * 500_000: 1, "messages": [{"y" * 500_000: 1}]}).encode())
    assert all(len(msgspec.json.encode(finding)) < 2000 for finding in findings)
    assert ("unknown-field", "/messages/0") in [(finding.code, finding.pointer) for finding in findings]


# --- lines that are too long ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, 1000])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_the_bound_on_a_line_is_exact_and_scanning_goes_on_behind_it(size: int, ending: bytes) -> None:
    fits = GOOD.ljust(200)
    longer = line(2).ljust(201)
    body = ending.join([longer, fits, longer * 5, line(3)])
    codes = [each for each in found(body, size=size, max_line_bytes=200) if each[1] != "crlf-line-endings"]
    assert codes == [(1, "line-too-long"), (3, "line-too-long")]


def test_memory_does_not_grow_with_a_line_or_a_file() -> None:
    def endless() -> Iterator[bytes]:
        for number in range(200):
            yield line(number) + b"\n"
        for _ in range(200):
            yield b"x" * (1 << 18)  # One line of 50 MiB.
        yield b"\n" + line(1)

    findings: list[Finding] = []
    scanning = Scan("sft", findings.append, max_line_bytes=1 << 20)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for chunk in endless():
        scanning.feed(chunk)
    scanning.finish()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert [finding.code for finding in findings] == ["line-too-long"]
    assert peak < 5 << 20


# --- formats ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "format"), [(GOOD, "sft"), (PREFERENCE, "preference"), (RANKING, "ranking"), (PRETRAIN, "pretrain")]
)
def test_each_format_is_told_from_its_first_objects(body: bytes, format: Format) -> None:
    result, _ = scan(b"\nnot json\n" + body, "auto")
    assert result.format == format


@pytest.mark.parametrize(
    "body", [PREFERENCE, RANKING, PRETRAIN, b'{"conversations": []}', b'{"prompt": "", "completion": ""}']
)
def test_another_format_is_named_once_and_its_lines_are_not_judged(body: bytes) -> None:
    result, findings = scan(b"\n".join([body] * 50), "sft")
    assert [(finding.line, finding.code) for finding in findings] == [(1, "wrong-format")]
    assert (result.samples, result.valid_samples, result.totals) == (50, 0, {"wrong-format": 1})


def test_one_stray_line_makes_no_wrong_format() -> None:
    codes = found(b"\n".join([RANKING, *map(line, range(5))]))
    assert {number for number, _ in codes} == {1}
    assert "wrong-format" not in {code for _, code in codes}


def test_objects_that_look_like_nothing_are_judged_where_a_format_was_declared() -> None:
    assert found(b"{}\n{}") == [(1, "missing-field"), (2, "missing-field")]


def test_objects_that_look_like_nothing_have_no_format_of_their_own() -> None:
    result, findings = scan(b'{"colour": 1}\n{}', "auto")
    assert result.format is None
    assert [(finding.line, finding.code) for finding in findings] == [(1, "wrong-format")]
    assert "'colour'" in findings[0].message


def test_lines_without_an_object_have_their_own_findings_and_no_format() -> None:
    result, findings = scan(b"x\n[]\n\xff", "auto")
    assert result.format is None
    assert [finding.code for finding in findings] == ["invalid-json", "not-an-object", "invalid-utf8"]


@pytest.mark.parametrize("declared", get_args(Format))
@pytest.mark.parametrize(
    ("body", "format"),
    [(GOOD, "sft"), (PREFERENCE, "preference"), (PAIR, "preference"), (RANKING, "ranking"), (PRETRAIN, "pretrain")],
)
def test_every_format_is_read_as_itself_and_as_no_other(body: bytes, format: Format, declared: Format) -> None:
    result, findings = scan(b"\n".join([body] * 3), declared)
    if declared == format:
        assert findings == []
        assert result.valid_samples == 3
    else:
        assert [(finding.line, finding.code) for finding in findings] == [(1, "wrong-format")]
        assert f"looks like {format}" in findings[0].message


BROKEN = b'{"messages": []}\n{"messages": [{"role": "user", "content": "a"}]}'


@pytest.mark.parametrize("format", ["sft", "preference"])
def test_conversations_too_faulty_to_be_told_are_judged_as_what_was_declared(format: Format) -> None:
    assert found(BROKEN, format) == [(1, "empty-messages"), (2, "no-assistant-message")]
    assert found(BROKEN, "ranking") == [(1, "wrong-format")]


def test_conversations_too_faulty_to_be_told_do_not_decide() -> None:
    assert scan(BROKEN, "auto")[0].format == "sft"
    assert scan(BROKEN + b"\n" + PREFERENCE, "auto")[0].format == "preference"
    assert found(BROKEN + b"\n" + GOOD, "preference") == [(1, "wrong-format")]


def test_a_text_with_more_about_it_is_still_a_text() -> None:
    result, findings = scan(b'{"text": "a", "url": "b"}', "auto")
    assert (result.format, result.valid_samples) == ("pretrain", 1)
    assert [finding.code for finding in findings] == ["unknown-field"]


def test_what_valid_samples_have_is_counted() -> None:
    preferences = scan(b"\n".join([PREFERENCE, PAIR, b"{}"]), "preference")[0]
    assert preferences.roles == {"assistant": 2, "user": 2}
    assert preferences.candidates == {"2": 2}
    assert preferences.spellings == {"chosen/rejected": 1, "text/score": 1}
    documents = scan(RANKING + b'\n{"query": "q", "docs": [{"text": "a", "label": 0}]}', "ranking")[0]
    assert documents.labels == {"positive": 1}
    assert documents.roles == documents.candidates == scan(PRETRAIN, "pretrain")[0].labels == {}


def test_findings_come_in_the_order_of_lines() -> None:
    body = b"\n".join([b"x", b"", line(1), b"", b"x", line(2, extra=1), *map(line, range(3, 30)), b"", b"x"])
    numbers = [number for number, _ in found(body, "auto")]
    assert numbers == sorted(numbers)


# --- whatever arrives -------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [GOOD, line(2), PREFERENCE, PAIR, RANKING, PRETRAIN, b"{}", b"[", b"{", b"}", b"\n", b"\r\n", b"\r", b"", b" ",
     b",", b'"', b"\\", b"\\ud800", b"\xff", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"NaN", b"null",
     b'{"messages": [', b"]}", b"x" * 300]
)  # fmt: skip
BODIES = st.lists(PIECES | st.binary(max_size=8), max_size=30).map(b"".join)


@settings(max_examples=300)
@given(BODIES, st.sampled_from([*get_args(Format), "auto"]), st.integers(1, 400))
def test_any_bytes_are_scanned_and_the_chunks_do_not_matter(body: bytes, format: DeclaredFormat, size: int) -> None:
    result, findings = scan(body, format, size=size, max_line_bytes=250)
    assert (result, findings) == scan(body, format, max_line_bytes=250)
    assert {finding.code for finding in findings} <= codes_of(result.format or "")
    lines = body.split(b"\n")
    assert all(1 <= finding.line <= len(lines) for finding in findings)
    assert result.valid_samples <= result.samples <= len(lines)
    assert sum(result.totals.values()) == len(findings)
    wrong = {finding.line for finding in findings if finding.severity == "error"}
    if not {"wrong-format", "empty-file"} & set(result.totals):
        assert result.samples - result.valid_samples == len(wrong)
    msgspec.json.encode(findings)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 600), st.integers(0, 3))
def test_a_sample_with_bytes_torn_out_or_put_in_is_scanned(junk: bytes, at: int, cut: int) -> None:
    body = b"\n".join(map(line, range(12)))
    result, _ = scan(body[:at] + junk + body[at + cut :], "auto")
    assert result.samples >= 1


@given(BODIES, st.integers(1, 50))
def test_lines_are_what_splitting_gives(body: bytes, size: int) -> None:
    cutter = BlockCutter(1 << 20, block_bytes=20)
    blocks = [each for start in range(0, len(body), size) for each in cutter.feed(body[start : start + size])]
    blocks += cutter.finish()
    lines = list[Line]()
    for block in blocks:
        lines += lines_of(block, len(lines) + 1)
    expected = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    endings = [b"\r" if each.crlf else b"" for each in lines]
    assert [(each.body or b"") + ending for each, ending in zip(lines, endings, strict=True)] == expected
    assert [each.number for each in lines] == list(range(1, len(lines) + 1))
