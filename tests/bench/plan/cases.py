"""What is drawn, and the pieces of work that are measured, each in a fresh process on files that are there already."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from msgspec.structs import replace

from contracts.task import PresetMix
from handlers.planning.fates import Drawing
from handlers.planning.marking import BLOCK_ROWS, ROW_TYPE, Tables
from handlers.planning.sample_rows import State
from handlers.planning.selection import Selection, Source
from handlers.planning.steps import Limit
from worker.planning.fate_table import read_fates, write_fates


def _source(dataset_id: str, kind: str) -> Source:
    multiplier = 1.5 if kind == "user" else 1.0
    return Source(dataset_id=dataset_id, kind=kind, tables=(), multiplier=multiplier)  # type: ignore[arg-type]


#: Each with the shares of all samples that its datasets have.
CASES: dict[str, tuple[Selection, tuple[float, ...]]] = {
    "split and mix": (
        Selection(
            sources=(_source("a", "user"), _source("b", "user"), _source("p", "preset")),
            seed=1,
            validation_percent=10,
            preset_mix=PresetMix(10),
        ),
        (0.6, 0.2, 0.2),
    ),
    "validation set": (
        Selection(sources=(_source("v", "validation"), _source("a", "user"), _source("b", "user")), seed=1),
        (0.1, 0.6, 0.3),
    ),
}


def prepare(case: str, samples: int, folder: str) -> None:
    """Write the rows: of each twenty samples one is too long, and one in ten says the same as another."""
    random = np.random.default_rng(samples)
    for number, share in enumerate(CASES[case][1]):
        with _rows(folder, number).open("wb") as file:
            count = round(samples * share)
            for first in range(0, count, BLOCK_ROWS):
                rows = np.zeros(min(BLOCK_ROWS, count - first), ROW_TYPE)
                contents = random.integers(0, samples * 5, len(rows), np.uint64)
                rows["high"], rows["low"] = contents * np.uint64(0x9E3779B97F4A7C15), contents + np.uint64(1)
                rows["line"] = np.arange(first + 1, first + 1 + len(rows))
                rows["tokens"] = random.integers(20, 2000, len(rows))
                rows["state"] = np.where(random.random(len(rows)) < 0.05, State.TOO_LONG, State.KEPT)
                file.write(rows.tobytes())


def quote(case: str, folder: str) -> int:
    """Draw, and add up: what an estimate does. Return the tokens."""
    return _drawn(CASES[case][0], folder, lambda drawing: sum(each.tokens for each in drawing.draws().drawn))


def stop(case: str, folder: str) -> int:
    """Draw, and add up what the steps see that end in the middle of the third epoch. Return the tokens."""
    selection, shares = CASES[case]
    rows = sum(_rows(folder, number).stat().st_size for number in range(len(shares))) // ROW_TYPE.itemsize
    limit = Limit(steps=5 * rows // 16, rows_a_step=8)
    return _drawn(
        replace(selection, limit=limit), folder, lambda drawing: sum(each.tokens for each in drawing.draws().over(1)[1])
    )


def plan(case: str, folder: str) -> int:
    """Draw, add up, and write every line's fate: what a dispatch does. Return the bytes of the table."""

    def written(drawing: Drawing) -> int:
        drawing.draws()
        write_fates(_table(folder), CASES[case][0].sources, drawing.fates())
        return _table(folder).stat().st_size

    return _drawn(CASES[case][0], folder, written)


def obey(case: str, folder: str) -> int:
    """Read the table, as a trainer does beside the datasets. Return how many samples are used."""
    return sum(int((fates.times > 0).sum()) for fates in read_fates(_table(folder), CASES[case][0].sources))


WORK: dict[str, Callable[[str, str], int]] = {"quote": quote, "stop": stop, "plan": plan, "obey": obey}


def _drawn(selection: Selection, folder: str, use: Callable[[Drawing], int]) -> int:
    paths = [[_rows(folder, number)] for number in range(len(selection.sources))]
    with TemporaryDirectory(dir=folder) as scratch:
        return use(Drawing(selection, Tables(selection.sources, paths), Path(scratch)))


def _rows(folder: str, number: int) -> Path:
    return Path(folder, f"{number}.rows")


def _table(folder: str) -> Path:
    return Path(folder, "fates.parquet")
