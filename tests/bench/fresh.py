"""The other side of harness.py: one run in a process of its own.

Started with a job as JSON. Pins itself, imports what the job calls, says ready, waits for a line, runs, and says what
it cost. Imports are not counted: a service imports once.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Cannot(Exception):
    """What was asked is beyond this contender. The message says why."""


def cpu_seconds() -> float:
    """Return the processor time of all threads and of children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_rss_bytes() -> int:
    """Return the most memory this program has had resident.

    Linux starts ``ru_maxrss`` of a new program at what its parent had; VmHWM is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def spin(rounds: int) -> int:
    """Keep one core busy with nothing but itself: what two of them gain is what the machine can give."""
    total = 0
    for number in range(rounds):
        total ^= number
    return total


def _pin(cpus: list[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def _run(job: dict[str, Any], say: Any) -> dict[str, Any]:
    _pin(job["cpus"])
    module, _, name = job["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    say("ready")
    sys.stdin.readline()
    cpu, wall = cpu_seconds(), time.perf_counter()
    try:
        value, cannot = function(*job["arguments"]), ""
    except Cannot as reason:
        value, cannot = None, str(reason)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "peak_rss_bytes": peak_rss_bytes(),
        "value": value,
        "cannot": cannot,
    }


def main() -> None:
    """Run the one job. What it prints goes to stderr: stdout is for the answer."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def say(text: str) -> None:
            answers.write(text + "\n")
            answers.flush()

        say(json.dumps(_run(json.loads(sys.argv[1]), say)))
