"""The simulation against what queueing theory knows in closed form: before it is believed about anything else."""

import asyncio
import math
from itertools import count
from statistics import mean
from typing import Any

import pytest

from tests.bench.scaling.broker import Arrival, partition_of
from tests.bench.scaling.simulation import Latency, Load, Service, StageRun, poisson, seeded, simulate
from tests.fakes.virtual_time import NothingLeft, run_virtually

#: So many seconds a handling that the intake's own waits (polls of 50 ms) do not show.
UNIT = 1.0


def _arrivals(times: list[float], key: str | None = None) -> list[Arrival]:
    return [Arrival(at, key or f"k-{number}", 0) for number, at in zip(count(), times, strict=False)]


def _run(load: Load, *, seconds: float, latency: Latency, **changed: Any) -> StageRun:
    return run_virtually(simulate({"s": load}, seconds=seconds, latency=latency, **changed))["s"]


def test_time_jumps_and_nothing_waits_for_ever() -> None:
    async def sleeps() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert run_virtually(sleeps()) == pytest.approx(86_400)
    with pytest.raises(NothingLeft):
        run_virtually(asyncio.Event().wait())


def test_so_many_runners_wait_as_erlang_says() -> None:
    runners, load, seconds = 4, 0.8, 3_000.0
    rate = load * runners / UNIT
    times = list(poisson(rate, seconds, seeded(7)))
    run = _run(Load(_arrivals(times), Service(0, 1)), seconds=seconds, latency=Latency(0, UNIT), concurrency=runners)
    offered = rate * UNIT
    last = offered**runners / math.factorial(runners) / (1 - load)
    waits = last / (sum(offered**n / math.factorial(n) for n in range(runners)) + last)
    expected = waits / (runners / UNIT - rate) + UNIT
    assert mean(delay for _, _, delay in run.delays) == pytest.approx(expected, rel=0.08)
    assert run.busy_seconds / seconds / runners == pytest.approx(load, rel=0.03)


def test_one_core_is_waited_for_as_lindley_says_of_each() -> None:
    load, seconds = 0.7, 2_000.0
    times = list(poisson(load / UNIT, seconds, seeded(11)))
    run = _run(Load(_arrivals(times), Service(UNIT, 0)), seconds=seconds + 100, latency=Latency(0, 0), concurrency=1)
    free_at, exact = 0.0, []
    for at in times:
        free_at = max(free_at, at) + UNIT
        exact.append(free_at - at)
    delays = [delay for _, _, delay in run.delays]
    assert len(delays) == len(exact)
    # A poll that sleeps adds up to 50 ms, once a busy period.
    assert all(0 <= delay - least < 0.06 for delay, least in zip(delays, exact, strict=True))


def test_what_comes_evenly_and_fits_never_waits() -> None:
    times = [number * UNIT for number in range(1000)]
    run = _run(Load(_arrivals(times), Service(0, 1)), seconds=1001 * UNIT, latency=Latency(UNIT * 0.99, UNIT * 0.99))
    assert run.quantile(1.0) == pytest.approx(UNIT * 0.99, abs=0.06)
    assert len(run.delays) == 1000


def test_the_same_seed_gives_the_same_run() -> None:
    def delays() -> list[tuple[str, int, float]]:
        times = list(poisson(50, 20, seeded(3)))
        load = Load(_arrivals(times), Service(1e-3, 3))
        return _run(load, seconds=20, latency=Latency(0.01, 0.02)).delays

    assert delays() == delays()


def test_events_of_one_key_are_folded_and_those_of_others_are_not() -> None:
    times = [0.001 * number for number in range(1000)]
    latency = Latency(0.02, 0.02)
    folded = _run(
        Load(_arrivals(times, "t"), Service(0, 2), folds=True), seconds=5, latency=latency, progress_seconds=0
    )
    single = _run(Load(_arrivals(times, "t"), Service(0, 2)), seconds=5, latency=latency)
    assert (len(folded.delays), folded.backlog) == (1000, 0)
    assert folded.handlings < 40
    assert single.handlings == 125


def test_steps_are_written_once_a_rest_and_a_rest_is_cut_short_before_the_intake_is_full() -> None:
    steps = [Arrival(at + 0.001 * task, f"t-{task}", 0) for at in range(60) for task in range(100)]
    quiet = _run(Load(steps, Service(0, 2), folds=True), seconds=70, latency=Latency(0.02, 0.02))
    assert (len(quiet.delays), quiet.pauses) == (6000, 0)
    assert quiet.handlings == pytest.approx(100 * 60 / 5, rel=0.1)
    assert quiet.quantile(1.0) < 5.2
    full = _run(Load(steps, Service(0, 2), folds=True), seconds=70, latency=Latency(0.02, 0.02), spread_limit=200)
    assert full.pauses > 0
    assert (len(full.delays), full.backlog) == (6000, 0)
    assert full.quantile(1.0) < 5.2


def test_a_rest_is_over_well_before_silence_means_that_a_job_is_lost() -> None:
    steps = [Arrival(0.1 * number, "t", 0) for number in range(200)]
    run = _run(Load(steps, Service(0, 2), folds=True), seconds=30, latency=Latency(0.02, 0.02), lost_job_seconds=1)
    assert 0.4 < run.quantile(1.0) < 0.7


def test_keys_lie_where_java_s_partitioner_puts_them() -> None:
    # From Kafka's own tests of its murmur2: 21 -> -973932308, foobar -> -790332482.
    assert partition_of("21", 1 << 31) == -973932308 & 0x7FFFFFFF
    assert partition_of("foobar", 1 << 31) == -790332482 & 0x7FFFFFFF
