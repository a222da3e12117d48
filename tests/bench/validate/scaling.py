"""What a second process brings: one file on one core, against its two halves on two cores at once."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.harness import Figure, Job, Run, cores, figure, read_through, take_turns
from tests.bench.validate.files import KINDS, prepared
from tests.bench.validate.result import Result

_FILE = "sft-plain"
_OURS = "tests.bench.validate.ours:check_range"
_SPIN = "tests.bench.fresh:spin"
_SPIN_ROUNDS = 10_000_000


class Scaling(NamedTuple):
    """MB/s of wall time, and how many times as fast two processes are.

    ``machine`` is the same for a bare loop, which shares nothing with its twin: what the two cores had to give.
    """

    one: Figure
    two: Figure
    times: float
    machine: float


def measure(megabytes: int, repeats: int, folder: Path, told: Callable[[str], None]) -> Scaling | None:
    """Run one and two processes, taking turns. Blocks. None where there is one core only. Raises Failed."""
    if len(cores()) < 2:
        return None
    first, second = cores()[:2]
    path = prepared(_FILE, megabytes, folder)
    read_through(path)
    size = path.stat().st_size
    middle = _end_of_line(path, size // 2)

    def part(start: int, end: int, core: int) -> Job:
        return Job(_OURS, (str(path), KINDS[_FILE].format, start, end), (core,))

    def spin(rounds: int, core: int) -> Job:
        return Job(_SPIN, (rounds,), (core,))

    jobs = {
        "one": [part(0, size, first)],
        "two": [part(0, middle, first), part(middle, size, second)],
        "one loop": [spin(_SPIN_ROUNDS, first)],
        "two loops": [spin(_SPIN_ROUNDS // 2, first), spin(_SPIN_ROUNDS // 2, second)],
    }
    rounds = take_turns(jobs, repeats, lambda name: told(f"scaling: {name}"))
    for one, two in zip(rounds["one"], rounds["two"], strict=True):
        assert _valid(one) == _valid(two), "two halves must give what the whole gives"
    seconds = {name: [max(run.wall_seconds for run in runs) for runs in each] for name, each in rounds.items()}
    return Scaling(
        figure([size / 1e6 / each for each in seconds["one"]]),
        figure([size / 1e6 / each for each in seconds["two"]]),
        _times(seconds["one"], seconds["two"]),
        _times(seconds["one loop"], seconds["two loops"]),
    )


def _times(one: list[float], two: list[float]) -> float:
    return median(alone / together for alone, together in zip(one, two, strict=True))


def _valid(runs: list[Run]) -> tuple[int, int]:
    results = [Result(*run.value) for run in runs]
    return sum(each.samples for each in results), sum(each.valid_samples for each in results)


def _end_of_line(path: Path, position: int) -> int:
    """Return where the line that holds a position ends."""
    with path.open("rb") as file:
        file.seek(position)
        file.readline()
        return file.tell()
