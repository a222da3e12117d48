"""A log read on from a byte never splits a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.executors.job_log import whole_text


@given(some.text(), some.integers(0, 100))
def test_two_readings_make_the_whole_text_wherever_the_first_ends(text: str, cut: int) -> None:
    data = text.encode()
    first, read = whole_text(data[:cut])
    second, _ = whole_text(data[read:])
    assert first + second == text


@pytest.mark.parametrize(("data", "expected"), [(b"\xffa", ("\ufffda", 2)), (b"a\xe5\xbc", ("a", 1)), (b"", ("", 0))])
def test_what_is_no_text_is_replaced_and_what_is_half_is_left(data: bytes, expected: tuple[str, int]) -> None:
    assert whole_text(data) == expected
