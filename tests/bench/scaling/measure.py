"""Measuring what a request costs: a real S3 server on one core, each measurement in a fresh process on another."""

import asyncio
import os
from collections.abc import Mapping
from statistics import median

from deploy.local.s3 import S3Server
from tests.bench.harness import Job, Run, cores, run_together, take_turns
from tests.bench.scaling.bucket import BUCKET

_WORK = "tests.bench.scaling.bucket"
_COUNT = 1000
_FEW = 20
_REPEATS = 3


async def measure() -> dict[str, float]:
    """Return processor seconds by what they were spent on. Takes a minute.

    Raises ServerMissing without the S3 server's program, Failed where a measurement ends with an error.
    """
    async with S3Server(keep_alive=True) as server:
        if hasattr(os, "sched_setaffinity") and server.pid:
            os.sched_setaffinity(server.pid, {cores()[-1]})
        await server.make_bucket(BUCKET)
        environment = server.environment()
        await asyncio.to_thread(run_together, [Job(f"{_WORK}:fill", (_COUNT,), cores()[:1], environment)])
        runs = await asyncio.to_thread(_runs, environment)
    each = {name: median(run.cpu_seconds / int(run.value) for (run,) in rounds) for name, rounds in runs.items()}
    prepared = each.pop("prepared")
    return {
        "READ_SECONDS": each["reads"],
        "WRITE_SECONDS": each["writes"],
        "LISTED_SECONDS": each["listed"],
        "OPEN_SECONDS": each["opened"] - each["reads"],
        "LOOK_SECONDS": each["sweep"] - each["listed"] - prepared - each["writes"],
        "HANDLED_SECONDS": each["decided"],
        "a fold, with handler and lane": each["folds"] - prepared,
    }


def _runs(environment: Mapping[str, str]) -> dict[str, list[list[Run]]]:
    counts = dict.fromkeys(("reads", "writes", "listed", "prepared", "folds", "sweep"), _COUNT) | {"opened": _FEW}
    jobs = {name: [Job(f"{_WORK}:{name}", (count,), cores()[:1], environment)] for name, count in counts.items()}
    jobs["decided"] = [Job("tests.bench.scaling.deciding:decided", (_COUNT // 10,), cores()[:1])]
    return take_turns(jobs, _REPEATS)
