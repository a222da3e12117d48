"""Seeded choices: exact in number, fair, and the same wherever and in whatever pieces they are made."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.task import PresetMix
from handlers.planning.chance import Draw, held_out, key_of, mixed
from handlers.planning.selection import mix_of, presets_wanted, wanted_of
from tests.fakes.samples import source


@given(st.integers(1, 3_000), st.integers(0, 10_000), st.integers(), st.integers(1, 700))
def test_exactly_so_many_are_drawn_none_twice_as_often_as_another(total: int, count: int, seed: int, step: int) -> None:
    draw = Draw.of(total, count, seed)
    times = draw.times(0, total)

    assert times.sum() == count
    assert times.max() - times.min() <= 1
    pieces = [draw.times(first, min(step, total - first)) for first in range(0, total, step)]
    assert np.array_equal(np.concatenate(pieces), times)


def test_a_draw_takes_more_than_one_look_and_is_still_exact() -> None:
    draw = Draw.of(300_000, 123_457, "seed")

    assert int(draw.times(0, 300_000).sum()) == 123_457


def test_every_sample_is_drawn_about_as_often_as_any_other() -> None:
    often = sum((Draw.of(20, 5, seed).times(0, 20) for seed in range(2_000)), np.zeros(20, np.int64))

    assert 400 < often.min() <= often.max() < 600


def test_what_is_chosen_is_the_same_on_any_machine() -> None:
    """These figures are what was drawn once: another would change every plan there is."""
    assert key_of("draw", 7, "user", "d-1") == 12622259868590550759
    assert np.flatnonzero(Draw.of(12, 5, 7).times(0, 12)).tolist() == [0, 4, 8, 9, 10]
    assert np.flatnonzero(held_out(np.arange(30, dtype=np.uint64), 3, 20)).tolist() == [5, 6, 20, 21, 27]


def test_words_are_mixed_as_splitmix64_does() -> None:
    """Its published outputs for the seed 0."""
    assert mixed(np.array([1, 2, 3], np.uint64), 0).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_nothing_is_drawn_from_nothing() -> None:
    assert Draw.of(0, 5, 1).times(0, 0).sum() == 0


def test_a_greater_share_only_adds_to_a_smaller_one_and_shares_are_kept() -> None:
    contents = mixed(np.arange(20_000, dtype=np.uint64), 11)
    small, large = held_out(contents, 5, 10), held_out(contents, 5, 20)

    assert 1_800 < small.sum() < 2_200
    assert 3_700 < large.sum() < 4_300
    assert not (small & ~large).any()
    assert not np.array_equal(small, held_out(contents, 6, 10))


@pytest.mark.parametrize(
    ("fields", "available", "wanted"),
    [
        ({}, 4, 4),
        ({"multiplier": 2.5}, 4, 10),
        ({"multiplier": 0.5}, 5, 3),
        ({"multiplier": 1.15}, 10, 12),
        ({"multiplier": 0.01}, 4, 1),
        ({"sample_count": 3}, 4, 3),
        ({"sample_count": 9}, 4, 9),
        ({"sample_count": 9}, 0, 0),
        ({"multiplier": 3.0}, 0, 0),
    ],
)
def test_how_many_are_wanted(fields: dict[str, Any], available: int, wanted: int) -> None:
    assert wanted_of(source("d", **fields), available) == wanted


@pytest.mark.parametrize(
    ("trained", "percent", "presets"),
    [(9, 10, 1), (100, 20, 25), (1, 1, 1), (3, 50, 3), (1, 99, 99), (2, 20, 1), (6, 20, 2), (5, 23, 1), (0, 50, 0)],
)
def test_presets_are_a_share_of_the_mixed_total(trained: int, percent: int, presets: int) -> None:
    assert presets_wanted(trained, percent) == presets


@given(st.integers(1, 10**9), st.integers(1, 99))
def test_no_other_number_of_presets_is_nearer(trained: int, percent: int) -> None:
    presets = presets_wanted(trained, percent)

    exact_times = trained * percent
    assert presets == 1 or abs(presets * (100 - percent) - exact_times) * 2 <= 100 - percent


@pytest.mark.parametrize(
    ("when_short", "available", "drawn", "short"),
    [("fail", 25, 25, False), ("fail", 24, 0, True), ("repeat", 7, 25, False), ("repeat", 0, 0, True)],
)
def test_too_few_presets_fail_or_repeat(when_short: str, available: int, drawn: int, *, short: bool) -> None:
    mix = mix_of(PresetMix(20, when_short), 100, available)  # type: ignore[arg-type]

    assert (mix.wanted, mix.available, mix.drawn, mix.short) == (25, available, drawn, short)
    assert mix.achieved_percent == (20.0 if drawn else 0.0)
