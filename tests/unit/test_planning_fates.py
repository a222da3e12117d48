"""What becomes of each sample: against the same said plainly, and laws that hold for any data."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from contracts.task import PresetMix
from handlers.planning import fates as fates_module
from handlers.planning import marking
from handlers.planning.chance import held_out
from handlers.planning.fates import Drawing
from handlers.planning.marking import Mark
from handlers.planning.sample_rows import State
from handlers.planning.selection import Drawn, Excluded, Selection, presets_wanted, wanted_of
from tests.fakes.samples import Line, digest, drawing, source
from tests.fakes.selections import Files, cases


class Row:
    """What became of one line."""

    def __init__(self, source: int, line: Line, mark: int, times: int, tokens: int) -> None:
        self.source, self.line, self.mark, self.times, self.tokens = source, line, Mark(mark), times, tokens


def rows(drawn: Drawing, files: Files) -> list[Row]:
    found = []
    for fates in drawn.fates():
        lines = files[fates.source][fates.file]
        found += [
            Row(fates.source, lines[number - 1], mark, times, tokens)
            for number, mark, times, tokens in zip(
                fates.lines.tolist(), fates.marks.tolist(), fates.times.tolist(), fates.tokens.tolist(), strict=True
            )
        ]
    return found


def on_validation_side(selection: Selection, content: int) -> bool:
    word = np.frombuffer(digest(content)[:8], np.uint64)
    percent = selection.validation_percent
    return percent is not None and bool(held_out(word, selection.split_seed, percent)[0])


def said_plainly(selection: Selection, files: Files) -> list[Mark]:
    """Return what each line can be, each by itself."""
    of_kind = [each.kind for each in selection.sources]
    every = [(of_kind[n], line) for n, source_files in enumerate(files) for file in source_files for line in file]
    validation = {
        line.content
        for kind, line in every
        if line.state is State.KEPT
        and (kind == "validation" or (kind == "user" and on_validation_side(selection, line.content)))
    }

    def mark(kind: str, line: Line) -> Mark:
        if line.state is not State.KEPT:
            return Mark.INVALID if line.state is State.INVALID else Mark.TOO_LONG
        if kind == "validation" or (kind == "user" and on_validation_side(selection, line.content)):
            return Mark.VALIDATION
        if line.content in validation:
            return Mark.LEAK
        return Mark.TRAINED if kind == "user" else Mark.PRESET

    return [mark(*each) for each in every]


@settings(max_examples=150)
@given(cases())
def test_every_line_has_the_fate_the_rules_give_it(case: tuple[Selection, Files]) -> None:
    selection, files = case
    with TemporaryDirectory() as folder:
        drawn = drawing(Path(folder), selection, files)
        found, draws = rows(drawn, files), drawn.draws()
    plain = said_plainly(selection, files)

    # Not drawn is a candidate that had no luck; nothing else differs.
    candidates = {Mark.TRAINED, Mark.PRESET}
    assert [row.mark if row.mark is not Mark.NOT_DRAWN else None for row in found] == [
        mark if row.mark is not Mark.NOT_DRAWN else None for row, mark in zip(found, plain, strict=True)
    ]
    assert all(mark in candidates for row, mark in zip(found, plain, strict=True) if row.mark is Mark.NOT_DRAWN)
    assert all((row.times > 0) == (row.mark in {*candidates, Mark.VALIDATION}) for row in found)
    # As many as the arithmetic says, of each dataset.
    trained = 0
    for number, each in enumerate(selection.sources):
        available = sum(mark in candidates and row.source == number for row, mark in zip(found, plain, strict=True))
        times = [
            row.times for row, mark in zip(found, plain, strict=True) if row.source == number and mark in candidates
        ]
        if each.kind == "user":
            assert sum(times) == wanted_of(each, available)
            assert not times or max(times) - min(times) <= 1
            trained += sum(times)
    if selection.preset_mix:
        pool = [row.times for row, mark in zip(found, plain, strict=True) if mark is Mark.PRESET]
        wanted = presets_wanted(trained, selection.preset_mix.percent)
        enough = len(pool) >= wanted or (selection.preset_mix.when_short == "repeat" and bool(pool))
        assert sum(pool) == (wanted if enough else 0)
        assert draws.mix is not None
        assert draws.mix.short == (not enough and wanted > 0)
    # The sums are those of the single lines.
    assert sum(each.tokens for each in draws.drawn) == sum(row.times * row.tokens for row in found)
    assert sum(each.samples for each in draws.drawn) == sum(row.times for row in found)
    assert sum(each.samples for each in draws.excluded) == sum(not row.times for row in found)
    # What says the same is never on both sides.
    measured = {row.line.content for row in found if row.mark is Mark.VALIDATION}
    assert measured.isdisjoint(row.line.content for row in found if row.mark in candidates)


@settings(max_examples=40)
@given(cases())
def test_blocks_do_not_show(case: tuple[Selection, Files]) -> None:
    selection, files = case
    digests = []
    for size in (2, 7, 1 << 16):
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(marking, "BLOCK_ROWS", size)
            patch.setattr(fates_module, "BLOCK_ROWS", size)
            digests.append(drawing(Path(folder), selection, files).draws())
    assert digests[0] == digests[1] == digests[2]


NUMBERS = [Line(content) for content in range(400)]


def sides(tmp_path: Path, files: list[list[Line]], **fields: Any) -> set[int]:
    """Return which contents are measured."""
    defaults: dict[str, Any] = {"seed": 1, "split_seed": 0, "validation_percent": 20}
    selection = Selection(sources=(source("d", multiplier=0.5),), **(defaults | fields))
    return {
        row.line.content for row in rows(drawing(tmp_path, selection, [files]), [files]) if row.mark == Mark.VALIDATION
    }


def test_a_line_keeps_its_side_whatever_else_is_there(tmp_path: Path) -> None:
    before = sides(tmp_path, [NUMBERS[:200]])

    assert before
    assert sides(tmp_path, [NUMBERS[200:], list(reversed(NUMBERS))], seed=77) & set(range(200)) == before
    assert sides(tmp_path, [NUMBERS[:200]], split_seed=3) != before


def test_of_a_preference_only_the_extremes_count_where_only_they_are_looked_at(tmp_path: Path) -> None:
    selection = Selection(sources=(source("d"),), seed=1)
    whole = drawing(tmp_path, selection, [[NUMBERS]]).draws()
    less = drawing(tmp_path, replace(selection, extremes=True), [[NUMBERS]]).draws()

    assert whole.drawn == (Drawn(dataset_id="d", kind="user", samples=400, tokens=4000),)
    assert less.drawn == (Drawn(dataset_id="d", kind="user", samples=400, tokens=2400),)


def test_leaks_are_left_out_and_counted_in_training_and_in_presets(tmp_path: Path) -> None:
    selection = Selection(
        sources=(source("held", "validation"), source("d"), source("p", "preset")),
        seed=1,
        preset_mix=PresetMix(50, "repeat"),
    )
    files = [[NUMBERS[:10]], [NUMBERS[5:20], NUMBERS[8:12]], [NUMBERS[9:40]]]
    draws = drawing(tmp_path, selection, files).draws()

    assert draws.excluded == (
        Excluded(dataset_id="d", kind="user", reason="leak", samples=7),
        Excluded(dataset_id="p", kind="preset", reason="leak", samples=1),
        Excluded(dataset_id="p", kind="preset", reason="not-drawn", samples=18),
    )
    assert [(each.kind, each.samples) for each in draws.drawn] == [("validation", 10), ("user", 12), ("preset", 12)]
    assert draws.mix is not None
    assert (draws.mix.wanted, draws.mix.available, draws.mix.achieved_percent) == (12, 30, 50.0)


def test_presets_never_say_what_was_split_off_the_users_samples(tmp_path: Path) -> None:
    selection = Selection(
        sources=(source("d"), source("p", "preset")),
        seed=1,
        validation_percent=50,
        preset_mix=PresetMix(10),
    )
    files = [[NUMBERS[:100]], [NUMBERS[:400]]]
    found = rows(drawing(tmp_path, selection, files), files)

    measured = {row.line.content for row in found if row.mark is Mark.VALIDATION}
    assert {row.line.content for row in found if row.mark is Mark.LEAK} == measured
    assert measured < set(range(100))


def test_of_an_empty_dataset_nothing_is_drawn(tmp_path: Path) -> None:
    selection = Selection(sources=(source("d", sample_count=5),), seed=1)

    draws = drawing(tmp_path, selection, [[[]]]).draws()
    assert draws.drawn == (Drawn(dataset_id="d", kind="user", samples=0, tokens=0),)


def test_fates_are_the_same_on_any_machine(tmp_path: Path) -> None:
    """This digest is what came out once: another would change every plan there is."""
    selection = Selection(
        sources=(source("d", multiplier=1.3), source("p", "preset")),
        seed=7,
        validation_percent=10,
        preset_mix=PresetMix(20),
    )
    draws = drawing(tmp_path, selection, [[NUMBERS[:300]], [NUMBERS[200:]]]).draws()

    assert draws.fates_digest == "a4f0cc47a7b03eab37705f6eecd7653069073e85c7be2593b66cba990dc8dd76"


@pytest.mark.parametrize(("samples", "count"), [(1, 10**12), (3, 10**12), (7, 3 * 10**17), (2, 2**62)])
def test_no_number_of_repetitions_is_too_much_for_the_sums(samples: int, count: int, tmp_path: Path) -> None:
    most = 2**32 - 1
    files = [[[Line(content, tokens=most) for content in range(samples)]]]
    draws = drawing(tmp_path, Selection(sources=(source("d0", sample_count=count),), seed=1), files).draws()
    assert draws.drawn == (Drawn(dataset_id="d0", kind="user", samples=count, tokens=count * most),)
