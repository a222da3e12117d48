"""What people read: tables and the list of verdicts. And what programs read."""

from collections.abc import Sequence
from typing import Any

from tests.bench.harness import Figure, table
from tests.bench.validate.contenders import CONTENDERS
from tests.bench.validate.files import KINDS
from tests.bench.validate.memory import Memory
from tests.bench.validate.scaling import Scaling
from tests.bench.validate.speed import Row, Speeds
from tests.bench.validate.targets import Verdict

_HEADER = ("contender", "MB/s of CPU", "MB/s of time", "peak RSS MB", "ours is", "leaves out")


def speeds_text(speeds: Speeds) -> str:
    result = speeds.result
    title = f"{speeds.file}: {KINDS[speeds.file].about} ({speeds.size_bytes / 1e6:.0f} MB, one core)"
    agreed = (
        f"all agree: {result.samples:,} samples, {result.valid_samples:,} valid, "
        f"{result.warned_samples:,} of them warned about"
    )
    return f"{title}\n{agreed}\n\n{table(_HEADER, [_cells(row) for row in speeds.rows])}\n"


def scaling_text(scaling: Scaling) -> str:
    return (
        "sft-plain in one process and in two, on two cores\n\n"
        f"one  {_figure(scaling.one)} MB/s of time\n"
        f"two  {_figure(scaling.two)} MB/s of time: {scaling.times:.2f}x\n"
        f"     (a bare loop, which is what the two cores had to give: {scaling.machine:.2f}x)\n"
    )


def memory_text(memory: Memory) -> str:
    lines = [f"{size:>5} MB  {rss:.1f} MB" for size, rss in memory.peak_rss.items()]
    return "\n".join(["peak RSS of our scan, by the size of the file", "", *lines, ""])


def verdicts_text(verdicts: Sequence[Verdict]) -> str:
    words = {True: "pass", False: "FAIL", None: "not measured"}
    rows = [
        (
            verdict.target.measure,
            f"at {verdict.target.at} {verdict.target.bound:g}{verdict.target.unit}",
            "" if verdict.measured is None else f"{verdict.measured:.2f}{verdict.target.unit}",
            words[verdict.met],
        )
        for verdict in verdicts
    ]
    return table(("must reach", "bound", "measured", "verdict"), rows) + "\n"


def speeds_json(speeds: Speeds) -> dict[str, Any]:
    return {
        "size_bytes": speeds.size_bytes,
        "result": speeds.result._asdict(),
        "contenders": {
            row.contender: {
                "mb_per_cpu_second": row.per_cpu_second and row.per_cpu_second._asdict(),
                "mb_per_second": row.per_wall_second and row.per_wall_second._asdict(),
                "peak_rss_mb": row.peak_rss_megabytes,
                "ours_is": row.ours_is,
                "cannot": row.cannot,
            }
            for row in speeds.rows
        },
    }


def scaling_json(scaling: Scaling) -> dict[str, Any]:
    return {
        "one_mb_per_second": scaling.one._asdict(),
        "two_mb_per_second": scaling.two._asdict(),
        "times": scaling.times,
        "bare_loop_times": scaling.machine,
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {**verdict.target._asdict(), "measured": verdict.measured, "met": verdict.met}


def _cells(row: Row) -> tuple[str, ...]:
    leaves_out = CONTENDERS[row.contender].leaves_out
    rss = f"{row.peak_rss_megabytes:.0f}"
    if row.per_cpu_second is None or row.per_wall_second is None:
        return (row.contender, "cannot", "", rss, "", row.cannot.splitlines()[0][:90])
    ours_is = "" if row.ours_is is None else f"{row.ours_is:.2f}x"
    return (row.contender, _figure(row.per_cpu_second), _figure(row.per_wall_second), rss, ours_is, leaves_out)


def _figure(given: Figure) -> str:
    return f"{given.median:.0f} ±{given.spread * 100:>2.0f} %"
