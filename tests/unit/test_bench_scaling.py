"""What docs/SCALING.md says of limits, bills and hot keys, as far as it follows from the code."""

import pytest

from handlers.table import STAGES
from tests.bench.scaling.bill import bill
from tests.bench.scaling.hot_keys import imports, scattered, steps, told
from tests.bench.scaling.limits import limits
from tests.bench.scaling.model import HANDLINGS, PROGRESS, Day, needs, partitions_needed, sweeping, workers_needed
from tests.bench.scaling.slice import busiest_minute


def test_the_model_has_every_stage_but_those_that_are_asked_little() -> None:
    # Commands are few, and an exact estimate is no work but for datasets that are so large that they were sampled.
    assert {*HANDLINGS, PROGRESS, "task-command", "exact-estimation"} == {stage.name for stage in STAGES}


def test_twice_the_tasks_need_twice_of_all_that_is_not_fixed() -> None:
    one, two = Day(tasks=1_000_000), Day(tasks=2_000_000)
    for before, after in zip(needs(one), needs(two), strict=True):
        assert after[1:] == pytest.approx([2 * each for each in before[1:]])
    assert workers_needed(two) == pytest.approx(2 * workers_needed(one), rel=0.1)
    assert partitions_needed(two) % workers_needed(two) == 0


def test_rests_pay_for_themselves_and_are_no_use_to_tasks_that_seldom_speak() -> None:
    def progress(day: Day) -> float:
        return next(each.usd for each in bill(day) if each.what == "progress")

    day = Day()
    assert progress(day._replace(progress_seconds=0)) == pytest.approx(5 * progress(day))
    seldom = day._replace(events_per_second=0.01)
    assert progress(seldom._replace(progress_seconds=0)) == progress(seldom)


def test_limits_come_in_the_order_in_which_they_are_reached() -> None:
    found = [each.tasks_a_day for each in limits(Day())]
    assert found == sorted(found)
    more = {each.what: each.tasks_a_day for each in limits(Day(workers=24, partitions=24))}
    fewer = {each.what: each.tasks_a_day for each in limits(Day(workers=24, partitions=12))}
    twice = pytest.approx(2 * fewer["event loops, cores"], rel=0.1)
    assert more["event loops, cores"] == twice, "a worker without a partition does nothing"
    assert limits(Day(tasks=1_000))[0].tasks_a_day == pytest.approx(found[0]), "whatever there is today"


def test_more_sweepers_sweep_faster_up_to_the_number_of_shards() -> None:
    rounds = [sweeping(Day(workers=workers), 100_000).round_seconds for workers in (1, 4, 16, 64)]
    assert rounds[0] > rounds[1] > rounds[2] == rounds[3]


def test_a_fleet_as_large_as_it_says_keeps_up_in_the_busiest_minute_and_half_of_it_does_not() -> None:
    day = Day(tasks=20_000, events_per_second=0.2)
    workers = workers_needed(day)
    enough = busiest_minute(day._replace(workers=workers, partitions=partitions_needed(day)), seconds=30)
    assert enough[PROGRESS].quantile(0.99) < day.progress_seconds + 1
    assert enough["dataset-validation"].quantile(0.99) < 2
    more = day._replace(workers=workers, partitions=partitions_needed(day), peak_factor=2.5 * day.peak_factor)
    half = busiest_minute(more, seconds=30)
    assert half[PROGRESS].quantile(0.99) > enough[PROGRESS].quantile(0.99) + 1


# --- hot keys ------------------------------------------------------------------------------------------------


def test_a_task_that_says_a_thousand_steps_a_second_holds_nobody_up() -> None:
    day = Day()
    calm = told("", steps(day, 0, seconds=10), day, folds=True)
    hot = told("", steps(day, 1000, seconds=10), day, folds=True)
    assert hot.neighbours == pytest.approx(calm.neighbours, abs=0.3)
    assert hot.handlings < calm.handlings + 30, "its runs are full before its rests are over: 500 events each"
    assert hot.hot < day.progress_seconds + 0.2
    assert hot.pauses == 0


def test_a_hot_dataset_holds_up_its_partition_once_its_lane_is_full_and_no_other() -> None:
    day = Day()
    below, above = (told("", imports(day, hot), day) for hot in (1_500, 3_000))
    assert (below.pauses, below.neighbours < 1, below.others < 1) == (0, True, True)
    assert above.pauses > 0
    assert above.neighbours > 60
    assert above.others < 1


def test_a_producer_without_keys_makes_every_step_a_write() -> None:
    day = Day()
    arrivals = steps(day, 0, seconds=30)
    keyed, without = told("", arrivals, day, folds=True), told("", scattered(arrivals, day), day, folds=True)
    assert without.handlings > 3 * keyed.handlings
    assert without.handlings <= len(arrivals)
