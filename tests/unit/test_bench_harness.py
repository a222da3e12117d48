"""The harness of benchmarks: fresh processes, taking turns, and what is read off them."""

import os

import pytest

from tests.bench.fresh import peak_rss_bytes
from tests.bench.harness import Failed, Figure, Job, cores, figure, run_together, table, take_turns

_CALLS = "tests.fakes.calls"
_CORE = cores()[:1]


def test_each_run_has_a_process_of_its_own_pinned_to_its_core() -> None:
    job = Job(f"{_CALLS}:where", (), _CORE)
    first, second = run_together([job, job])
    assert len({os.getpid(), first.value[0], second.value[0]}) == 3
    assert tuple(first.value[1:]) == tuple(second.value[1:]) == _CORE


def test_a_run_costs_what_it_does_and_not_what_it_imports() -> None:
    (little,) = run_together([Job(f"{_CALLS}:busy", (1,), _CORE)])
    (much,) = run_together([Job(f"{_CALLS}:busy", (1_000_000,), _CORE)])
    assert little.value == 0
    assert much.cpu_seconds > 10 * little.cpu_seconds
    assert much.wall_seconds >= 0.5 * much.cpu_seconds


def test_peak_memory_is_that_of_the_run_alone() -> None:
    ballast = b"1" * (peak_rss_bytes() + 50_000_000)
    (small,) = run_together([Job(f"{_CALLS}:held", (1,), _CORE)])
    (large,) = run_together([Job(f"{_CALLS}:held", (80,), _CORE)])
    assert small.peak_rss_bytes < len(ballast)
    assert large.peak_rss_bytes > small.peak_rss_bytes + 70_000_000


def test_who_cannot_says_why() -> None:
    (run,) = run_together([Job(f"{_CALLS}:beyond", (), _CORE)])
    assert run.cannot == "not for me"


@pytest.mark.parametrize("function", [f"{_CALLS}:broken", "tests.no_such_module:check"])
def test_an_error_of_a_run_is_told_with_its_traceback(function: str) -> None:
    with pytest.raises(Failed, match=r"what went wrong|no_such_module"):
        run_together([Job(function, (), _CORE)])


def test_contenders_take_turns_and_none_is_always_first() -> None:
    job = [Job(f"{_CALLS}:busy", (1,), _CORE)]
    order: list[str] = []
    runs = take_turns({"a": job, "b": job}, 2, order.append)
    assert order == ["a", "b", "b", "a"]
    assert {name: len(rounds) for name, rounds in runs.items()} == {"a": 2, "b": 2}


def test_a_figure_is_a_median_with_its_range() -> None:
    assert figure([10.0, 2.0, 4.0]) == Figure(4.0, 2.0, 10.0)
    assert figure([10.0, 2.0, 4.0]).spread == 1.0


def test_a_table_has_its_columns_below_each_other() -> None:
    lines = table(("name", "MB/s", "note"), [("ours", "7", "all"), ("another", "1234", "")]).splitlines()
    assert lines == ["name     MB/s  note", "-------  ----  ----", "ours        7  all", "another  1234"]
