"""Measure delivery on Apache Kafka: ``python -m tests.bench.events [--messages 100000] [--repeats 3] [--only intake]``.

Contenders take turns in fresh processes; ratios are medians of the ratios of neighbours. ``--only requests`` counts
what a task asks of the bucket, and needs no broker.
Exit codes: 0 every target is met, 1 one is not, 2 could not measure.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from deploy.local.kafka import ApacheKafka
from deploy.local.server_process import ServerMissing
from tests.bench.events.records import KEYS, command, fill, progress
from tests.bench.events.requests import reads, requests, writes
from tests.bench.harness import Failed, Job, cores, figure, table, take_turns
from worker.kafka.broker import Brokers
from worker.kafka.topics import ensure_topics

_PROGRESS_TASKS = 100
_LATENCY_TURNS = 7
_EVENTS = "tests.bench.events"
_ON_A_BROKER = ("intake", "progress", "publishing", "stage", "latency")
_GROUPS = (*_ON_A_BROKER, "requests")


class Group(NamedTuple):
    """Contenders on one piece of work: name -> (function, arguments), ours first; ``unit`` is what they return."""

    title: str
    unit: str
    contenders: Mapping[str, tuple[str, tuple[Any, ...]]]
    #: contender -> the least ours must be, as a multiple of it
    targets: Mapping[str, float]


def groups(servers: str, elsewhere: str, messages: int) -> dict[str, Group]:
    """Return what is measured: intake on one broker, and what publishes on the other."""
    few = max(200, messages // 50)
    stage = max(500, messages // 25)
    return {
        "intake": Group(
            "intake",
            "records/s",
            {
                "ours": ("intake:ours", (servers, messages)),
                "aiokafka getmany + commit, undecoded": ("intake:raw", (servers, messages)),
                "ours, a log line a record": ("intake:ours", (servers, messages, "info")),
                "FastStream, batch": ("intake:faststream_batch", (servers, messages)),
                "FastStream, AckPolicy.ACK": ("intake:faststream_ack", (servers, few)),
                "taskiq, commits by the clock": ("task_queue:taskiq", (elsewhere, max(few, messages // 10))),
            },
            {"aiokafka getmany + commit, undecoded": 0.7, "FastStream, AckPolicy.ACK": 40.0},
        ),
        "progress": Group(
            "training.progress, folded",
            "events/s",
            {"ours": ("intake:progress", (servers, messages, _PROGRESS_TASKS))},
            {},
        ),
        "publishing": Group(
            "publishing",
            "events/s",
            {
                "ours": ("publishing:ours", (elsewhere, messages // 4)),
                "aiokafka, pipelined": ("publishing:pipelined", (elsewhere, messages // 4)),
                "aiokafka, one at a time": ("publishing:one_at_a_time", (elsewhere, few)),
            },
            {},
        ),
        "stage": Group(
            "a stage with a receipt, bucket in a directory",
            "records/s",
            {
                "ours": ("receipted:ours", (elsewhere, stage)),
                "bare GET, PUT, publish": ("receipted:bare", (elsewhere, stage)),
            },
            {"bare GET, PUT, publish": 0.7},
        ),
    }


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.events")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=_GROUPS, nargs="*", default=_GROUPS, help="measure only these")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    # Topics that are a second old have no leaders yet, which the client says of each partition ten times a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    kept: dict[str, Any] = {}
    met = True
    try:
        if not set(asked.only).isdisjoint(_ON_A_BROKER):
            kept, met = asyncio.run(_measure(asked.messages, asked.repeats, asked.only, as_json=asked.json))
    except (Failed, ServerMissing) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if "requests" in asked.only:
        kept["requests"] = _requests(as_json=asked.json)
    if asked.json:
        sys.stdout.write(json.dumps(kept) + "\n")
    return 0 if met else 1


async def _measure(messages: int, repeats: int, only: Sequence[str], *, as_json: bool) -> tuple[dict[str, Any], bool]:
    kept: dict[str, Any] = {}
    met = True
    # Two brokers: what is published on one would be read by who measures intake on the other.
    async with ApacheKafka() as servers, ApacheKafka() as elsewhere:
        for address in (servers, elsewhere):
            await ensure_topics(Brokers(address))
        await fill(servers, "task.command", [_command(n) for n in range(messages)])
        steps = [(n // _PROGRESS_TASKS, f"t{n % _PROGRESS_TASKS}") for n in range(messages)]
        await fill(servers, "training.progress", [(task.encode(), progress(seq, task)) for seq, task in steps])
        for name, group in groups(servers, elsewhere, messages).items():
            if name not in only:
                continue
            jobs = {
                name: [Job(f"{_EVENTS}.{function}", arguments, cores()[:1])]
                for name, (function, arguments) in group.contenders.items()
            }
            runs = await asyncio.to_thread(take_turns, jobs, repeats)
            rates = {name: [run.value for (run,) in rounds] for name, rounds in runs.items()}
            ratios = {
                name: median(mine / theirs for mine, theirs in zip(rates["ours"], each, strict=True))
                for name, each in rates.items()
            }
            missed = [name for name, least in group.targets.items() if ratios[name] < least]
            met = met and not missed
            kept[group.title] = {"unit": group.unit, "rates": rates, "ours_is": ratios, "missed": missed}
            if not as_json:
                _show(group, rates, ratios)
        if "latency" in only:
            latency = await _latency(elsewhere, as_json=as_json)
            kept["latency"] = latency
            met = met and latency["added_p99_ms"] <= 20
    return kept, met


def _command(number: int) -> tuple[bytes, bytes]:
    task_id = f"t{number % KEYS}"
    return task_id.encode(), command(number, task_id)


def _show(group: Group, rates: Mapping[str, list[float]], ratios: Mapping[str, float]) -> None:
    rows = []
    for name, each in rates.items():
        seen = figure(each)
        least = f"must reach {group.targets[name]:g}x" if name in group.targets else ""
        ours_is = "" if name == "ours" else f"{ratios[name]:.2f}x"
        rows.append((name, f"{seen.median:,.0f}", f"±{seen.spread:.0%}", ours_is, least))
    sys.stdout.write(f"\n{table((group.title, group.unit, 'spread', 'ours is', ''), rows)}\n")
    sys.stdout.flush()


async def _latency(servers: str, *, as_json: bool, rate: float = 200.0, seconds: int = 4) -> dict[str, Any]:
    count = int(rate * seconds)
    jobs = {name: [Job(f"{_EVENTS}.latency:{name}", (servers, count, rate), cores()[:1])] for name in ("ours", "bare")}
    # Many short turns: what else the machine does meanwhile falls on both, and the medians leave its bursts out.
    runs = await asyncio.to_thread(take_turns, jobs, _LATENCY_TURNS)
    found = {name: [median(run.value[n] for (run,) in rounds) for n in (0, 1)] for name, rounds in runs.items()}
    added = found["ours"][1] - found["bare"][1]
    if not as_json:
        rows = [(name, f"{p50:.1f}", f"{p99:.1f}", "") for name, (p50, p99) in found.items()]
        rows.append(("added", f"{found['ours'][0] - found['bare'][0]:.1f}", f"{added:.1f}", "must be 20 or less"))
        sys.stdout.write(f"\n{table((f'latency at {rate:g}/s, ms', 'p50', 'p99', ''), rows)}\n")
    return {"rate": rate, **found, "added_p99_ms": added}


def _requests(*, as_json: bool) -> dict[str, dict[str, int]]:
    counted = requests()
    if not as_json:
        rows = [
            (stage, str(writes(asked)), str(reads(asked)), ", ".join(f"{n} {method}" for method, n in asked.items()))
            for stage, asked in counted.items()
        ]
        each = counted.values()
        rows.append(("a task, without its progress", str(sum(map(writes, each))), str(sum(map(reads, each))), ""))
        header = ("requests to the bucket", "PUT, LIST", "GET, HEAD", "asked")
        sys.stdout.write(f"\n{table(header, rows)}\neach progress event folded alone: 1 PUT, 1 GET\n")
    return counted


if __name__ == "__main__":
    sys.exit(main())
