"""Ours against its peers, one core, one file after another."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.harness import Figure, Job, Run, cores, figure, read_through, take_turns
from tests.bench.validate.contenders import CONTENDERS
from tests.bench.validate.files import KINDS, prepared
from tests.bench.validate.result import Result


class Row(NamedTuple):
    """One contender on one file. Speeds are MB (a million bytes) a second; ``ours_is`` how many times as fast ours was.

    ``cannot`` says why there are no figures, where there are none.
    """

    contender: str
    per_cpu_second: Figure | None
    per_wall_second: Figure | None
    peak_rss_megabytes: float
    ours_is: float | None
    cannot: str


class Speeds(NamedTuple):
    """All contenders on one file, and the one result they came to."""

    file: str
    size_bytes: int
    result: Result
    rows: list[Row]


class Disagreement(Exception):
    """Contenders that claim the same checks came to other results."""


def measure(
    file: str, contenders: Sequence[str], megabytes: int, repeats: int, folder: Path, told: Callable[[str], None]
) -> Speeds:
    """Run every contender on a file, taking turns. Blocks. Raises Disagreement, Failed."""
    kind = KINDS[file]
    path = prepared(file, megabytes, folder)
    read_through(path)
    environment = {"HF_HOME": str(folder / "huggingface")}
    jobs = {
        name: [Job(CONTENDERS[name].function, (str(path), kind.format), cores()[:1], environment)]
        for name in contenders
    }
    rounds = take_turns(jobs, repeats, lambda name: told(f"{file}: {name}"))
    runs = {name: [run for (run,) in each] for name, each in rounds.items()}
    size = path.stat().st_size
    return Speeds(file, size, agreed(file, runs), [_row(name, size, runs) for name in contenders])


def agreed(file: str, runs: Mapping[str, Sequence[Run]]) -> Result:
    """Return the one result of all that have one. Raises Disagreement."""
    results = {name: [Result(*run.value) for run in each if not run.cannot] for name, each in runs.items()}
    said = {name: each[0] for name, each in results.items() if each}
    if not said:
        raise Disagreement(f"{file}: no contender has a result")
    first = next(iter(said.values()))
    if any(result != first for each in results.values() for result in each):
        raise Disagreement("\n".join([f"{file}:", *(f"  {name}: {result}" for name, result in said.items())]))
    return first


def _row(name: str, size: int, runs: Mapping[str, Sequence[Run]]) -> Row:
    mine = runs[name]
    rss = max(run.peak_rss_bytes for run in mine) / 1e6
    cannot = next((run.cannot for run in mine if run.cannot), "")
    if cannot:
        return Row(name, None, None, rss, None, cannot)
    ours = runs.get("ours")
    return Row(
        name,
        figure([size / 1e6 / run.cpu_seconds for run in mine]),
        figure([size / 1e6 / run.wall_seconds for run in mine]),
        rss,
        # Neighbours in time are compared, so that a slow minute of the machine is not held against one of them.
        median(peer.cpu_seconds / our.cpu_seconds for peer, our in zip(mine, ours, strict=True)) if ours else None,
        "",
    )
