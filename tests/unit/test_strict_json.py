import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.strict_json import MAX_DEPTH, InvalidJson, StrictParser, pointer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def parse(text: str) -> Any:
    return StrictParser().parse(text)


def found(text: str) -> list[tuple[str, str]]:
    return [(pointer(oddity.path), oddity.code) for oddity in parse(text).oddities]


@given(JSON, st.booleans())
def test_plain_json_is_what_it_is(value: Any, ascii_only: bool) -> None:
    document = parse(json.dumps(value, ensure_ascii=ascii_only))
    assert document.value == value
    assert document.oddities == ()


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    position = 0
    try:
        parse(text)
    except InvalidJson as error:
        position = error.position
    assert 0 <= position <= len(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"a":1,}',
        "{'a':1}",
        '{"a":01}',
        "[1",
        "tru",
        '"a\tb"',
        "{} x",
        '{"a" 1}',
        '"\\u12"',
        "\ufeff{}",
        "[.5]",
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidJson):
        parse(text)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 1001])
def test_a_number_no_reader_agrees_on_is_named_with_its_place(number: str) -> None:
    assert found(f'{{"a": [1, {number}]}}') == [("/a/1", "invalid-json")]


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\uDBFF x", "\\ud83d\\ud83d"])
def test_half_a_surrogate_pair_is_named_with_its_place(escape: str) -> None:
    assert found(f'{{"a": "{escape}"}}') == [("/a", "invalid-json")]
    assert found(f'{{"{escape}": 1}}') == [("", "invalid-json")]


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parse('"\\ud83d\\ude00"').value == "😀"
    assert found('"\\ud83d\\ude00"') == []


def test_every_repeated_name_is_named_once_and_the_last_value_counts() -> None:
    text = '{"a": 1, "a": 2, "a": 3, "b~/": {"c": 1, "c": 2}, "b~/": {"d": 1, "d": 2}}'
    assert found(text) == [("/a", "duplicate-key"), ("/b~0~1", "duplicate-key"), ("/b~0~1/d", "duplicate-key")]
    assert parse(text).value["a"] == 3


def test_only_the_first_of_what_makes_it_unusable_is_named() -> None:
    assert found('[{"a": 1, "a": NaN}, NaN, "\\ud800"]') == [("/0/a", "duplicate-key"), ("/0/a", "invalid-json")]


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_the_bound_on_nesting_is_exact(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    assert parse(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH).oddities == ()
    assert parse(opening * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1)).invalid is not None


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(InvalidJson, match="nested deeper"):
        parse("[" * 1_000_000)


def test_several_values_are_read_one_after_the_other() -> None:
    text = ' {"a": 1} {"b": NaN}\n'
    parser = StrictParser()
    first = parser.parse_first(text)
    second = parser.parse_first(text, first.end)
    assert (first.value, first.oddities, second.end) == ({"a": 1}, (), len(text))
    assert second.invalid is not None


def test_many_repeated_names_take_no_quadratic_time() -> None:
    names = ",".join(f'"{n}":1' for n in range(200_000))
    assert found(f'{{{names},"7":2}}') == [("/7", "duplicate-key")]


# --- limits and words -------------------------------------------------------------------------------------------


def test_a_value_may_be_128_levels_deep_and_an_integer_1000_digits_long() -> None:
    assert parse("[" * 128 + "]" * 128).oddities == ()
    (oddity,) = parse("[" * 129 + "]" * 129).oddities
    assert (len(oddity.path), oddity.message) == (128, "nested deeper than 128 levels")
    assert parse("9" * 1000).value == int("9" * 1000)
    assert parse("9" * 1001).invalid is not None


def test_what_is_at_the_deepest_level_is_looked_at_and_nothing_below_it() -> None:
    twice = '{"x": 1, "x": 2}'
    for inside in ("1", '"a"', "null", "1.5"):
        text = f'{{"twice": {twice}, "a": {"[" * 127}{inside}{"]" * 127}}}'
        assert found(text) == [("/twice/x", "duplicate-key")]
    deepest = "[" * 127 + twice + "]" * 127
    assert found(deepest) == [("/0" * 127 + "/x", "duplicate-key")]
    too_deep = "[" * 128 + twice + "]" * 128
    assert found(too_deep) == [("/0" * 128 + "/x", "duplicate-key"), ("/0" * 128, "invalid-json")]
    below = "[" * 129 + twice + "]" * 129
    assert found(below) == [("/0" * 128, "invalid-json")]


def test_one_half_character_among_the_names_is_enough() -> None:
    assert found('{"good": 1, "\\ud800": 2, "too": 3}') == [("", "invalid-json")]


def test_every_oddity_says_what_it_is() -> None:
    messages = {
        '{"a": 1, "a": 2}': "'a' is there more than once",
        '{"\\ud800": 1, "\\ud800": 2}': "'\\\\ud800' is there more than once",
        "[NaN]": "NaN, Infinity and numbers out of range are not JSON",
        '["\\ud800"]': "a \\u escape is half of a surrogate pair",
        '{"\\ud800": 1}': "a \\u escape in a name is half of a surrogate pair",
    }
    assert {text: parse(text).oddities[0].message for text in messages} == messages


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "expecting value"),
        (' {"a": x}', 7, "expecting value"),
        ("{} {}", 3, "there is more after the value"),
        ("  " + "[" * 100_000, 2, "nested deeper than 128 levels"),
    ],
)
def test_where_text_stops_making_sense(text: str, position: int, message: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        parse(text)
    assert (str(refused.value), refused.value.position) == (message, position)


def test_a_parser_judges_each_value_by_itself() -> None:
    parser = StrictParser()
    assert parser.parse("[NaN]").invalid is not None
    assert parser.parse("[1]").oddities == ()
    assert parser.parse('{"a": 1, "a": 2}').oddities != ()
    assert parser.parse('{"a": 1}') == ({"a": 1}, 8, ())
