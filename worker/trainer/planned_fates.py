"""Which lines are trained on: what the plan's table says, or where it has none, what the same draw says here."""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from handlers.planning.build import selection_of
from handlers.planning.fates import Drawing, Fates
from handlers.planning.marking import Mark, Tables
from handlers.planning.plan import Plan, PlannedDataset
from handlers.planning.selection import Selection
from handlers.ports.store import ObjectStore
from worker.planning.fate_table import read_fates, write_fates
from worker.tokens.counter import CountFiles, tallied
from worker.tokens.encoder import SampleEncoder
from worker.tokens.jobs import DatasetJob
from worker.tokens.samples import LeftOut, Sample, invalid_lines, read_samples
from worker.trainer.failures import platforms_fault, users_fault


class PlannedLine(NamedTuple):
    """A line that is used: how often an epoch trains on it, and its tokens. ``held_out``: it is only measured."""

    line: int
    times: int
    tokens: int
    held_out: bool


class PlannedFile(NamedTuple):
    """The lines of one file that are used, rising. Read them before the next file's."""

    source: int
    file: int
    lines: Iterator[PlannedLine]


async def fate_table(
    store: ObjectStore, plan: Plan, encoder: SampleEncoder, folder: Path, check: Callable[[], None]
) -> Path:
    """Return the table of what becomes of every line, as a local file. Deterministic.

    Raises:
        JobError: the plan's table is gone, or there are too few preset samples.
        What the reader and the encoder raise, where the plan has no table.
    """
    path = folder / "fates.parquet"
    if plan.fates_key is None:
        await _draw_here(store, plan, encoder, folder, path, check)
        return path
    try:
        await store.download(plan.fates_key, path)
    except FileNotFoundError as error:
        raise platforms_fault("plan-missing", f"there is no table at {plan.fates_key}") from error
    return path


def datasets_of(plan: Plan) -> tuple[PlannedDataset, ...]:
    """Return the plan's datasets, in the order of its selection's sources."""
    return (*plan.validation, *plan.training, *plan.presets)


def planned_files(path: Path, selection: Selection) -> Iterator[PlannedFile]:
    """Yield the files of a table that have lines in use, in its order. Raises JobError where it cannot be read."""
    for (source, file), some in groupby(_fates(path, selection), lambda fates: (fates.source, fates.file)):
        yield PlannedFile(source, file, _used(some))


def counted_marks(path: Path, selection: Selection) -> Counter[int]:
    """Return how many lines of a table have each mark. Raises JobError where it cannot be read."""
    counts: Counter[int] = Counter()
    for fates in _fates(path, selection):
        counts.update(fates.marks.tolist())
    return counts


def _fates(path: Path, selection: Selection) -> Iterator[Fates]:
    try:
        yield from read_fates(path, selection.sources)
    except ValueError as error:
        raise platforms_fault("plan-unusable", str(error), retryable=False) from error


def _used(some: Iterator[Fates]) -> Iterator[PlannedLine]:
    for fates in some:
        used = fates.times > 0
        columns = (fates.lines, fates.times, fates.tokens, fates.marks == Mark.VALIDATION)
        yield from map(PlannedLine._make, zip(*(column[used].tolist() for column in columns), strict=True))


class _Following:
    """Follows a file line by line, and passes over those that are not used."""

    whole_file = False

    def __init__(self, lines: Iterator[PlannedLine]) -> None:
        self._lines = lines
        self._coming = next(lines, None)

    def __contains__(self, line: int) -> bool:
        return line != self.coming()

    def coming(self) -> int | None:
        """Return the next line that is used."""
        return self._coming.line if self._coming else None

    def took(self) -> PlannedLine:
        """Return what the plan says of the line that was just read."""
        taken = self._coming
        assert taken is not None
        self._coming = next(self._lines, None)
        return taken


async def planned_samples(
    store: ObjectStore, dataset: PlannedDataset, planned: PlannedFile, taken: deque[PlannedLine]
) -> AsyncIterator[Sample]:
    """Yield the samples of a file that are used, in order; ``taken`` gets what the plan says of each.

    Raises JobError where a line is not there, and what the reader raises.
    """
    following = _Following(planned.lines)
    if following.coming() is None:
        return
    async for sample in read_samples(store, dataset.files, {planned.file: following}, only=planned.file):
        taken.append(following.took())
        yield sample
        if following.coming() is None:
            return  # what is left of the file is not used
    where = f"{dataset.files[planned.file].uri}, line {following.coming()}"
    raise platforms_fault("plan-differs", f"{where}: the plan trains on it, and it is no sample", retryable=False)


async def _draw_here(
    store: ObjectStore, plan: Plan, encoder: SampleEncoder, folder: Path, path: Path, check: Callable[[], None]
) -> None:
    """Count and draw as the worker would have, had it been able to."""
    selection = selection_of(plan, plan.hyperparameters)
    paths: list[list[Path]] = []
    for number, dataset in enumerate(datasets_of(plan)):
        invalid = await invalid_lines(store, dataset.findings_key)
        paths.append([])
        whole = DatasetJob(
            files=dataset.files,
            format=plan.format,
            prefix=plan.base_prefix,
            context_length=plan.context_length,
            findings_key=dataset.findings_key,
        )
        for job in whole.counts():
            rows = folder / f"{number}.{job.index}.rows"
            left_out = invalid.get(job.index, LeftOut())
            await tallied(store, job, left_out, encoder, CountFiles(folder / "too-long.ndjson", rows), check)
            paths[-1].append(rows)
    drawing = Drawing(selection, Tables(selection.sources, paths), folder)
    if drawing.mix and drawing.mix.short:
        raise users_fault(
            "preset-too-small",
            f"{drawing.mix.wanted} preset samples are wanted, of which there are {drawing.mix.available}",
        )
    write_fates(path, selection.sources, drawing.fates())
