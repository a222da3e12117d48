"""Where a limit on steps ends training, beside a walk through the epochs, step by step."""

import tracemalloc
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from handlers.planning import chance, stopping
from handlers.planning.chance import Draw, order_of
from handlers.planning.epoch_order import EpochOrder
from handlers.planning.fates import Drawing
from handlers.planning.marking import Mark
from handlers.planning.packing import packed
from handlers.planning.selection import Drawn, Draws, Selection
from handlers.planning.steps import Limit, limit_of, steps_an_epoch
from handlers.planning.stopping import stop_of
from tests.fakes.samples import Line, drawing, source
from tests.fakes.selections import Files, cases

#: A source, whether a sample begins in it, and tokens.
Piece = tuple[int, int, int]

limits = st.builds(
    Limit,
    steps=st.integers(1, 40),
    rows_a_step=st.integers(1, 6),
    packed_to=st.sampled_from([None, 5, 60]),
    in_order=st.booleans(),
)


def rows_of(drawn: Drawing, limit: Limit) -> list[list[Piece]]:
    """Return the rows of an epoch before it is shuffled."""
    samples = []
    for number in dict.fromkeys(fates.source for fates in drawn.fates()):
        lines = [
            (times, tokens)
            for fates in drawn.fates()
            if fates.source == number
            for mark, times, tokens in zip(
                fates.marks.tolist(), fates.times.tolist(), fates.tokens.tolist(), strict=True
            )
            if mark in {Mark.TRAINED, Mark.PRESET}
        ]
        for done in range(max((times for times, _ in lines), default=0)):
            samples += [(number, tokens) for times, tokens in lines if times > done]
    if limit.packed_to is None:
        return [[(number, 1, tokens)] for number, tokens in samples]
    pieces = [
        (number, int(start == 0), min(limit.packed_to, tokens - start))
        for number, tokens in samples
        for start in range(0, tokens, limit.packed_to)
    ]
    return [[pieces[index] for index in row] for row in packed((tokens for *_, tokens in pieces), limit.packed_to)]


def walked(rows: list[list[Piece]], seed: int, limit: Limit) -> list[Piece]:
    """Return what training sees, step by step."""
    seen: list[Piece] = []
    steps = epoch = 0
    while rows:
        order = EpochOrder(len(rows), seed, epoch, in_order=limit.in_order).all().tolist()
        for start in range(0, len(order), limit.rows_a_step):
            if steps == limit.steps:
                return seen
            seen += [piece for number in order[start : start + limit.rows_a_step] for piece in rows[number]]
            steps += 1
        epoch += 1
    return seen


def billed(draws: Draws) -> Counter[tuple[str, str]]:
    epochs, drawn = draws.over(7)
    found: Counter[tuple[str, str]] = Counter()
    for each in drawn:
        if each.kind != "validation":
            found[each.dataset_id, "samples"] += epochs * each.samples
            found[each.dataset_id, "tokens"] += epochs * each.tokens
    return +found


@settings(max_examples=60)
@given(cases(), limits)
def test_what_training_sees_until_its_last_step_is_added_up_exactly(
    case: tuple[Selection, Files], limit: Limit
) -> None:
    selection, files = replace(case[0], limit=limit), case[1]
    with TemporaryDirectory() as folder:
        drawn = drawing(Path(folder), selection, files)
        draws, rows = drawn.draws(), rows_of(drawn, limit)

    expected: Counter[tuple[str, str]] = Counter()
    for number, begins, tokens in walked(rows, selection.seed, limit):
        name = selection.sources[number].dataset_id
        expected[name, "samples"] += begins
        expected[name, "tokens"] += tokens
    assert billed(draws) == +expected
    # What is measured is so as a whole, and what an epoch sees does not change.
    _, seen = draws.over(1)
    assert [each for each in seen if each.kind == "validation"] == [
        each for each in draws.drawn if each.kind == "validation"
    ]
    with TemporaryDirectory() as folder:
        assert replace(draws, stop=None) == drawing(Path(folder), case[0], files).draws()


@settings(max_examples=20)
@given(cases(), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_as_many_steps_as_some_epochs_have_are_these_epochs(
    case: tuple[Selection, Files], rows_a_step: int, epochs: int, in_order: bool
) -> None:
    with TemporaryDirectory() as folder:
        one = drawing(Path(folder), case[0], case[1]).draws()
    steps = epochs * steps_an_epoch(one.of("user") + one.of("preset"), rows_a_step)
    limit = Limit(steps=steps or 1, rows_a_step=rows_a_step, in_order=in_order)
    with TemporaryDirectory() as folder:
        draws = drawing(Path(folder), replace(case[0], limit=limit), case[1]).draws()
    assert draws.over(9) == (epochs if steps else 0, one.drawn)


@given(st.integers(0, 300), st.data(), st.integers(0, 3))
def test_the_first_of_an_order_are_those_that_are_drawn(total: int, data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(0, total))
    order = order_of(total, seed)
    assert sorted(order.tolist()) == list(range(total))
    drawn = np.flatnonzero(Draw.of(total, count, seed).times(0, total))
    assert sorted(order[:count].tolist()) == drawn.tolist()


def test_an_order_is_the_same_on_any_machine() -> None:
    assert EpochOrder(8, 7, 0).all().tolist() == [0, 7, 6, 3, 2, 1, 5, 4]
    assert EpochOrder(8, 7, 1).all().tolist() == [5, 2, 3, 4, 0, 6, 1, 7]


def test_without_a_number_of_steps_there_is_no_limit() -> None:
    assert limit_of({"max_steps": 0, "batch_size": 4}, packed_to=None, in_order=False) is None
    limit = limit_of(
        {"max_steps": 3, "batch_size": 4, "gradient_accumulation": 2, "epochs": 9}, packed_to=512, in_order=True
    )
    assert limit == Limit(steps=3, rows_a_step=8, packed_to=512, in_order=True)


@pytest.mark.parametrize("packed_to", [None, 1000])
def test_memory_does_not_grow_with_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed_to: int | None
) -> None:
    for module in (stopping, chance):
        monkeypatch.setattr(module, "_BLOCK", 500)
    limit = Limit(steps=7, rows_a_step=9, packed_to=packed_to)

    def peak(blocks: int) -> int:
        some = np.random.default_rng(1).integers(1, 900, 500).astype(np.uint32)
        drawn = [(0, Drawn(dataset_id="d", kind="user", samples=500 * blocks, tokens=int(some.sum()) * blocks))]
        tracemalloc.start()
        stop_of(limit, 1, lambda: ((0, some) for _ in range(blocks)), drawn, tmp_path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(2)  # what is loaded but once
    assert peak(40) < 1.3 * peak(4)


def test_a_limit_is_told_of_lines_alone(tmp_path: Path) -> None:
    selection = Selection(sources=(source("d"),), seed=1, limit=Limit(steps=2, rows_a_step=2, in_order=True))
    draws = drawing(tmp_path, selection, [[[Line(n, tokens=10**n) for n in range(5)]]]).draws()
    assert draws.over(3) == (1, (Drawn(dataset_id="d", kind="user", samples=4, tokens=1111),))
    assert draws.stop is not None
    assert (draws.stop.steps, draws.stop.epochs, draws.stop.rows) == (2, 0, 4)
