"""A set of line numbers is a set, whatever order they come in, and small."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from worker.tokens.line_set import LineSet
from worker.tokens.samples import LeftOut

LINES = st.lists(st.integers(0, 300), max_size=40)


def line_set(lines: list[int]) -> LineSet:
    made = LineSet()
    for line in lines:
        made.add(line)
    return made


@given(LINES)
def test_it_holds_what_was_put_in_each_once_and_rising(lines: list[int]) -> None:
    made = line_set(lines)
    assert list(made) == sorted(set(lines))
    assert {line for line in range(400) if line in made} == set(lines)


@given(LINES, LINES)
def test_the_same_lines_have_the_same_digest_and_others_another(lines: list[int], others: list[int]) -> None:
    assert line_set(lines).digest() == line_set(list(reversed(lines)) * 2).digest()
    assert (line_set(lines).digest() == line_set(others).digest()) == (set(lines) == set(others))
    assert bool(line_set(lines).digest()) == bool(lines)


def test_a_million_lines_with_an_error_take_an_eighth_of_a_byte_each() -> None:
    tracemalloc.start()
    try:
        left_out = LeftOut()
        for line in range(1, 1_000_001):
            left_out.add(line, "invalid-json", "error")
        lines = left_out.lines()
        assert next(lines) == 1
        assert left_out.key()
        assert tracemalloc.get_traced_memory()[1] < 250_000
    finally:
        tracemalloc.stop()
