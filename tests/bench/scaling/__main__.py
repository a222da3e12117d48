"""How far it scales: ``python -m tests.bench.scaling [--tasks-per-day N ...] [--set workers=24 ...] [--json]``.

For each N: a fleet that is large enough, the busiest minute of one of its workers, simulated, and the bucket's bill;
then what gives out first with the workers and partitions there are. ``--set`` changes fields of ``Day`` (model.py).
``--hot-keys`` shows what one key does to the others; ``--measure`` measures on a real S3 server what all of this rests
on (measured.py).
Exit codes: 0 done, 2 could not.
"""

import argparse
import asyncio
import json
import logging
import sys
from typing import Any

from deploy.local.server_process import ServerMissing
from tests.bench.harness import Failed, table
from tests.bench.scaling import hot_keys
from tests.bench.scaling.bill import bill, kept
from tests.bench.scaling.limits import limits
from tests.bench.scaling.measure import measure
from tests.bench.scaling.model import Day, needs, partitions_needed, workers_needed
from tests.bench.scaling.slice import busiest_minute
from worker.telemetry import configure_logging

_SHOWN = (1_000, 100_000, 10_000_000)


def main() -> int:
    """Compute and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scaling")
    parser.add_argument("--tasks-per-day", type=int, nargs="*", default=_SHOWN)
    parser.add_argument("--set", nargs="*", default=(), metavar="FIELD=NUMBER", help="a field of Day, as in model.py")
    parser.add_argument("--hot-share", type=float, default=0.0, help="of all events but progress, under one key")
    parser.add_argument("--hot-keys", action="store_true", help="show what one key does to the others")
    parser.add_argument("--measure", action="store_true", help="measure what a request costs")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    configure_logging("json", "warning")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        day = _changed(Day(), asked.set)
        found = _found(asked, day)
    except (Failed, ServerMissing, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if asked.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _found(asked: argparse.Namespace, day: Day) -> dict[str, Any]:
    if asked.measure:
        measured = asyncio.run(measure())
        costs: list[tuple[str, ...]] = [(what, f"{seconds * 1e6:,.0f}", "") for what, seconds in measured.items()]
        return _say(asked, "measured", measured, ("processor time of one core", "µs", ""), costs)
    if asked.hot_keys:
        told = hot_keys.stories(day)
        rows = [
            (s.what, f"{s.hot:,.1f}", f"{s.neighbours:,.1f}", f"{s.others:,.1f}", f"{s.handlings:,}", str(s.pauses), "")
            for s in told
        ]
        header = ("p99, seconds to be done", "hot key", "its partition", "others", "handlings", "pauses", "")
        return _say(asked, "hot keys", [story._asdict() for story in told], header, rows)
    found = {str(tasks): _day(asked, day._replace(tasks=tasks)) for tasks in asked.tasks_per_day}
    return found | _limits(asked, day)


def _day(asked: argparse.Namespace, day: Day) -> dict[str, Any]:
    fleet = day._replace(workers=workers_needed(day), partitions=partitions_needed(day))
    if not asked.json:
        needed = f"{fleet.workers:,} workers, {fleet.partitions:,} partitions"
        sys.stdout.write(f"\n{day.tasks:,} tasks a day, {day.running:,.0f} train at a time: {needed}\n")
    found = {"workers": fleet.workers, "partitions": fleet.partitions, "running": day.running}
    return found | _stages(asked, fleet) | _bill(asked, fleet)


def _stages(asked: argparse.Namespace, fleet: Day) -> dict[str, Any]:
    runs = busiest_minute(fleet, hot_share=asked.hot_share)
    stages, rows = [], []
    for need in needs(fleet):
        run = runs[need.stage]
        p50, p99 = run.quantile(0.5), run.quantile(0.99)
        stages.append(need._asdict() | {"p50_seconds": p50, "p99_seconds": p99, "left": run.backlog})
        rates = (need.events_per_second, need.requests_per_second)
        shares = (need.cores / fleet.workers, need.at_once / fleet.workers / fleet.places)
        cells = (*(f"{rate:,.1f}" for rate in rates), *(f"{share:.1%}" for share in shares))
        rows.append((need.stage, *cells, f"{p50:.2f}", f"{p99:.2f}", ""))
    header = ("busiest minute", "events/s", "requests/s", "of cores", "of places", "p50 s", "p99 s", "")
    return _say(asked, "stages", stages, header, rows)


def _limits(asked: argparse.Namespace, day: Day) -> dict[str, Any]:
    first = limits(day)
    rows = [(each.what, f"{each.there_is:,.0f}", f"{each.tasks_a_day:,.0f}", each.then) for each in first]
    header = (f"{day.workers} workers, {day.partitions} partitions", "there is", "tasks a day", "then")
    return _say(asked, "limits", [each._asdict() for each in first], header, rows)


def _bill(asked: argparse.Namespace, fleet: Day) -> dict[str, Any]:
    bought = bill(fleet)
    rows = [(each.what, f"{each.writes:,.0f}", f"{each.reads:,.0f}", f"{each.usd:,.2f}", "") for each in bought]
    rows.append(("all", "", "", f"{sum(each.usd for each in bought):,.2f}", ""))
    header = ("the bucket, a day", "PUT, LIST", "GET, HEAD", "USD", "")
    found = _say(asked, "bill", [each._asdict() for each in bought], header, rows)
    objects, gigabytes, usd = kept(fleet)
    row = ("of a day", f"{objects:,.0f}", f"{gigabytes:,.2f}", f"{usd:,.2f}", "")
    return found | _say(asked, "kept", [objects, gigabytes, usd], ("kept", "objects", "GB", "USD a month", ""), [row])


def _say(asked: argparse.Namespace, name: str, value: Any, header: tuple[str, ...], rows: list[Any]) -> dict[str, Any]:
    if not asked.json:
        sys.stdout.write(f"\n{table(header, rows)}\n")
        sys.stdout.flush()
    return {name: value}


def _changed(day: Day, said: list[str]) -> Day:
    for each in said:
        name, _, number = each.partition("=")
        if name not in Day._fields:
            raise ValueError(f"{name!r} is no field of Day; there are {', '.join(Day._fields)}")
        day = day._replace(**{name: type(getattr(day, name))(number)})
    return day


if __name__ == "__main__":
    sys.exit(main())
