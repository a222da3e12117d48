"""Measuring fairly: every run in a fresh process, pinned to its cores, contenders taking turns.

On a machine that is not ours alone, speed drifts by the minute. So contenders run interleaved, what is compared is
processor time, and a ratio is the median of the ratios of runs that were neighbours.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Job(NamedTuple):
    """A call in a fresh process: ``function`` is ``module:name``; arguments and its value must survive JSON."""

    function: str
    arguments: tuple[Any, ...]
    cpus: tuple[int, ...]
    environment: Mapping[str, str] = {}


class Run(NamedTuple):
    """What one call cost. ``cannot`` says why there is no value, where the contender says that it cannot."""

    cpu_seconds: float
    wall_seconds: float
    peak_rss_bytes: int
    value: Any
    cannot: str


class Figure(NamedTuple):
    """A median with the lowest and the highest that were seen."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the range, as a share of the median."""
        return (self.high - self.low) / 2 / self.median if self.median else 0.0


class Failed(Exception):
    """A run ended with an error of its own. The message has what it wrote to stderr."""


def figure(values: Sequence[float]) -> Figure:
    """Return the median and the range of at least one value."""
    return Figure(median(values), min(values), max(values))


def cores() -> tuple[int, ...]:
    """Return the cores this process may use. Work begins at the front of them."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0), reverse=True))
    return tuple(range(os.cpu_count() or 1))


def run_together(jobs: Sequence[Job], timeout_seconds: float = 900) -> list[Run]:
    """Run jobs at the same time, each in a fresh process, started when all have imported what they need.

    Blocks. Raises Failed where a process ends with an error, TimeoutExpired where it takes too long; none is left.
    """
    with ExitStack() as cleanup:
        started = [_start(job, cleanup) for job in jobs]
        for process, errors in started:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise _failure(process, errors)
        for process, _ in started:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        return [_result(process, errors, timeout_seconds) for process, errors in started]


def take_turns(
    jobs: Mapping[str, Sequence[Job]], repeats: int, after: Callable[[str], None] = lambda _: None
) -> dict[str, list[list[Run]]]:
    """Run each entry ``repeats`` times: all once, then all again, each round beginning with another one.

    The result has a list of rounds for each name, a round being one run a job. ``after`` is told each name that ran.
    """
    runs: dict[str, list[list[Run]]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            runs[name].append(run_together(jobs[name]))
            after(name)
    return runs


def read_through(path: Path) -> None:
    """Read a file once, so that every contender finds it in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns: the first and the last to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    last = len(header) - 1

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column in {0, last} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def _start(job: Job, cleanup: ExitStack) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the stack, after its process has ended
    cleanup.callback(errors.close)
    asked = json.dumps({"function": job.function, "arguments": job.arguments, "cpus": job.cpus})
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.bench.fresh import main; main()", asked],
        bufsize=0,
        cwd=ROOT,
        env={**os.environ, **job.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    cleanup.callback(_end, process)
    return process, errors


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _result(process: subprocess.Popen[bytes], errors: IO[bytes], timeout_seconds: float) -> Run:
    answer, _ = process.communicate(timeout=timeout_seconds)
    if process.returncode:
        raise _failure(process, errors)
    return Run(**json.loads(answer))


def _failure(process: subprocess.Popen[bytes], errors: IO[bytes]) -> Failed:
    process.wait()
    errors.seek(0)
    return Failed(errors.read()[-4000:].decode(errors="replace"))
