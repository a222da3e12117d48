"""python -m tests.bench.plan: samples a second of one core, and the most memory, for each number of samples."""

import argparse
from tempfile import TemporaryDirectory

from tests.bench.harness import Job, cores, figure, table, take_turns
from tests.bench.plan.cases import CASES, WORK

_MODULE = "tests.bench.plan.cases"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--large", action="store_true", help="10,000,000 samples, too; 1 GB of disk, some minutes")
    given = parser.parse_args()
    rows: list[list[str]] = []
    for case in given.cases:
        for samples in given.samples + [10_000_000] * given.large:
            rows += _measured(case, samples, given.repeats)
    print(table(("case", "work", "samples", "samples/s", "spread", "peak RSS, MB", ""), rows))  # noqa: T201


def _measured(case: str, samples: int, repeats: int) -> list[list[str]]:
    cpus = cores()[:1]
    with TemporaryDirectory(prefix="bench-plan-") as folder:
        take_turns({"rows": [Job(f"{_MODULE}:prepare", (case, samples, folder), cpus)]}, 1)
        rows = []
        # Not in turns: what the plan writes is read by who obeys it.
        for work in WORK:
            jobs = {work: [Job(f"{_MODULE}:{work}", (case, folder), cpus)]}
            runs = [run for (run,) in take_turns(jobs, repeats)[work]]
            rate = figure([samples / run.cpu_seconds for run in runs])
            memory = max(run.peak_rss_bytes for run in runs) / 1e6
            note = f"{runs[0].value / samples:.1f} bytes a sample" if work == "plan" else ""
            rows.append(
                [case, work, f"{samples:,}", f"{rate.median:,.0f}", f"±{rate.spread:.0%}", f"{memory:.0f}", note]
            )
    return rows


if __name__ == "__main__":
    main()
