"""One line to objects: what is wrong with it before any format's rules, and what is said about it."""

import pytest

from contracts.strict_json import StrictParser, pointer
from handlers.validation.line_reading import Reading, read_line
from handlers.validation.one_value import ARRAY_TO_LINES

ENDS_INSIDE = "the line ends inside a value: write each object on one line, or add what was cut off"
DOUBLE_QUOTES = "write double quotes, as JSON has them: Python's json.dumps does, print and str do not"


def read(body: bytes) -> Reading:
    return read_line(body, StrictParser())


def said(body: bytes) -> tuple[str, str, str]:
    reading = read(body)
    (problem,) = reading.problems
    assert reading.objects == ()
    return problem.code, problem.message, problem.hint


def test_one_object_is_read() -> None:
    assert read(b' {"a": [1]} \t') == Reading(({"a": [1]},), ())


@pytest.mark.parametrize(
    ("body", "byte", "hint"),
    [
        (b'{"a": "\xff"}', 8, "save the file as UTF-8"),
        (b"\xfe", 1, "save the file as UTF-8"),
        (b"x\xff\xfe", 2, "save the file as UTF-8"),
        (b"{}\x1f\x8b", 4, "this is no text: unpack what is packed, and write JSONL as UTF-8"),
        ('{"a": "中文，测试"}'.encode("gb18030"), 8, "this looks like GB18030 (GBK): save the file as UTF-8"),
        (b'{"a": "' + "中".encode("gbk") * 4000 + b'"}', 8, "this looks like GB18030 (GBK): save the file as UTF-8"),
        (b'{"a": "' + "Привет как дела ".encode("koi8-r") * 400 + b'"}', 8, "save the file as UTF-8"),
        ('{"a": "naïve, Zoë, déjà vu"}'.encode("latin-1"), 10, "save the file as UTF-8"),
        ('{"a": "тест, проверка"}'.encode("cp1251"), 8, "save the file as UTF-8"),
        (b"\xff\xfe{\x00}\x00", 1, "this looks like UTF-16: save the file as UTF-8"),
        (b"\xfe\xff\x00{\x00}", 1, "this looks like UTF-16: save the file as UTF-8"),
        (b"\x1f\x8b\x08", 2, "this looks like gzip: unpack the file"),
        (b"PK\x03\x04\xff", 5, "this looks like a ZIP archive or a spreadsheet: write JSONL"),
        (b"PAR1\x15\x80", 6, "this looks like Parquet: write JSONL"),
    ],
)
def test_bytes_that_are_no_text_are_named_with_their_place(body: bytes, byte: int, hint: str) -> None:
    assert said(body) == ("invalid-utf8", f"byte {byte} of the line is not UTF-8", hint)


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (b'{"a": 1},', "there is more after the value at character 9", "remove the comma at the end of the line"),
        (b'{"a": 1}, ', "there is more after the value at character 9", "remove the comma at the end of the line"),
        (b"x,", "expecting value at character 1", "write one JSON object a line"),
        (b",x", "expecting value at character 1", "write one JSON object a line"),
        (b'{"a": 1}x,', "there is more after the value at character 9", "write one JSON object a line"),
        (b'{"a": ', "expecting value at character 7", ENDS_INSIDE),
        (b"{'a': 1}", "expecting property name enclosed in double quotes at character 2", DOUBLE_QUOTES),
        (b"['a']", "expecting value at character 2", DOUBLE_QUOTES),
        (
            b"{a: 1}",
            "expecting property name enclosed in double quotes at character 2",
            "write the names of fields in double quotes",
        ),
        (b"{} []", "there is more after the value at character 4", "write one JSON object a line"),
        (b"[] {}", "there is more after the value at character 4", "write one JSON object a line"),
        (b"{} x", "there is more after the value at character 4", "write one JSON object a line"),
        (b"{},, {}", "there is more after the value at character 3", "write one JSON object a line"),
        ("[1, 你]".encode(), "expecting value at character 5", "write one JSON object a line"),
    ],
)
def test_what_is_not_json_is_named_with_its_place_and_the_remedy(body: bytes, message: str, hint: str) -> None:
    assert said(body) == ("invalid-json", message, hint)


def test_a_line_cut_short_behind_a_comma_is_missing_its_end_and_has_no_comma_too_many() -> None:
    assert said(b'{"a": 1,')[2] == ENDS_INSIDE
    assert said(b'{"a": 1, ')[2] == ENDS_INSIDE


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (
            b"[{}]",
            "the line is a list, not an object",
            f"write one object a line, without brackets around them, as {ARRAY_TO_LINES} does",
        ),
        (b"7", "the line is a number, not an object", "write one object a line"),
        (b"1.5", "the line is a number, not an object", "write one object a line"),
        (b'"a"', "the line is a string, not an object", "write one object a line"),
        (b"true", "the line is a boolean, not an object", "write one object a line"),
        (b"null", "the line is null, not an object", "write one object a line"),
    ],
)
def test_a_line_that_is_no_object(body: bytes, message: str, hint: str) -> None:
    assert said(body) == ("not-an-object", message, hint)


def test_what_else_is_odd_about_a_line_that_is_no_object_is_said_too() -> None:
    problems = read(b'[{"a": 1, "a": 2}]').problems
    assert [(problem.code, pointer(problem.path)) for problem in problems] == [
        ("duplicate-key", "/0/a"),
        ("not-an-object", ""),
    ]


def test_a_repeated_name_leaves_the_object_and_half_a_character_does_not() -> None:
    repeated, broken = read(b'{"a": 1, "a": 2}'), read(b'{"a": "\\ud800"}')
    assert repeated.objects == ({"a": 2},)
    assert [(problem.code, pointer(problem.path), problem.hint) for problem in repeated.problems] == [
        ("duplicate-key", "/a", "give each name once: of several values only the last would count")
    ]
    assert broken.objects == ()
    assert [(problem.code, pointer(problem.path), problem.hint) for problem in broken.problems] == [
        ("invalid-json", "/a", "write what every JSON parser reads alike")
    ]


def test_of_several_objects_each_is_returned_that_can_be_judged_and_every_problem_with_it() -> None:
    reading = read(b'{"a": 1, "a": 2} {"b": NaN},{"c": 3}')
    assert reading.objects == ({"a": 2}, {"c": 3})
    assert [(problem.code, problem.message) for problem in reading.problems] == [
        ("several-objects-on-line", "3 objects on one line"),
        ("duplicate-key", "'a' is there more than once"),
        ("invalid-json", "NaN, Infinity and numbers out of range are not JSON"),
    ]


@pytest.mark.parametrize(
    ("count", "read_of_them", "said"),
    [(2, 2, "2"), (99, 99, "99"), (100, 100, "100"), (101, 101, "more than 100"), (102, 101, "more than 100")],
)
def test_so_many_objects_that_not_all_are_read(count: int, read_of_them: int, said: str) -> None:
    reading = read(b"{}" * count)
    assert len(reading.objects) == read_of_them
    (problem,) = reading.problems
    assert problem.message == f"{said} objects on one line"


def test_what_follows_more_objects_than_are_read_is_not_looked_at() -> None:
    (problem,) = read(b"{}" * 101 + b" x").problems
    assert problem.code == "several-objects-on-line"
