"""Measure dataset validation: `python -m tests.bench.validate [--megabytes 200] [--repeats 5] [--json]`.

Exit codes: 0 all that was measured reaches what it must, 1 something does not, 2 could not measure.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from tests.bench.harness import ROOT, Failed
from tests.bench.validate import memory, rendering, scaling, speed
from tests.bench.validate.contenders import CONTENDERS, missing_packages
from tests.bench.validate.files import KINDS
from tests.bench.validate.targets import PEAK_RSS, RSS_GROWTH, TWO_PROCESSES, against, verdicts


class Report:
    """What was measured: told to people as it comes, kept for programs, and under the names of targets."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._kept: dict[str, Any] = {}
        self.measures: dict[str, float] = {}

    def add(self, name: str, text: str, kept: Any) -> None:
        self._kept[name] = kept
        if not self._as_json:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def finish(self) -> int:
        judged = verdicts(self.measures)
        self.add("verdicts", rendering.verdicts_text(judged), [rendering.verdict_json(each) for each in judged])
        if self._as_json:
            sys.stdout.write(json.dumps(self._kept) + "\n")
        return int(any(verdict.met is False for verdict in judged))


def main() -> int:
    """Measure what was asked for and return the exit code."""
    asked = _arguments()
    if absent := missing_packages(asked.contenders):
        sys.stderr.write(f"not installed: {', '.join(absent)}. `make bench-validate` installs them.\n")
        return 2
    report = Report(as_json=asked.json)
    try:
        _measure(asked, report)
    except (Failed, speed.Disagreement) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return report.finish()


def _measure(asked: Namespace, report: Report) -> None:
    everything = asked.all or not (asked.scaling or asked.memory)
    for file in asked.files if everything else ():
        speeds = speed.measure(file, asked.contenders, asked.megabytes, asked.repeats, asked.folder, _tell)
        report.measures |= {against(file, row.contender): row.ours_is for row in speeds.rows if row.ours_is}
        report.add(file, rendering.speeds_text(speeds), rendering.speeds_json(speeds))
    if asked.scaling or asked.all:
        scaled = scaling.measure(asked.megabytes, asked.repeats, asked.folder, _tell)
        if scaled is None:
            report.add("scaling", "one core only: what a second process brings cannot be measured\n", None)
        else:
            report.measures[TWO_PROCESSES] = scaled.times
            report.add("scaling", rendering.scaling_text(scaled), rendering.scaling_json(scaled))
    if asked.memory or asked.all:
        held = memory.measure(min(asked.repeats, 2), asked.folder, _tell)
        report.measures |= {PEAK_RSS: held.highest, RSS_GROWTH: held.growth}
        report.add("memory", rendering.memory_text(held), {"peak_rss_mb": held.peak_rss})


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}\r")
        sys.stderr.flush()


def _arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m tests.bench.validate", description="Dataset validation against its peers.")
    parser.add_argument("--megabytes", type=int, default=200, help="size of each file (default 200)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each contender (default 5)")
    parser.add_argument("--files", nargs="+", choices=KINDS, default=list(KINDS), metavar="FILE", help=", ".join(KINDS))
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=", ".join(CONTENDERS),
    )
    parser.add_argument("--scaling", action="store_true", help="only one process against two")
    parser.add_argument("--memory", action="store_true", help="only peak RSS, on 50 MB and on 1 GB")
    parser.add_argument("--all", action="store_true", help="speed, scaling and memory")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--folder", type=Path, default=ROOT / ".worker/bench/validate", help="where files are kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
