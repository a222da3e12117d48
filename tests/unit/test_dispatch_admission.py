"""Whether a task may train: its data judged by its own tolerance, its fee by its limit, and what ended before."""

import pytest

from contracts.task import Phase
from tests.fakes.dispatch import imported, refusal
from tests.fakes.world import World, command_event, form_event, statuses

# --- the data and the fee ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance", "invalid", "samples", "trains"),
    [
        (None, 0, 100, True),
        (None, 1, 100, False),
        ({"max_invalid_records": 1}, 1, 100, True),
        ({"max_invalid_records": 1}, 2, 100, False),
        ({"max_invalid_records": 100}, 100, 100, False),
        ({"max_invalid_ratio": 0.29}, 29, 100, True),
        ({"max_invalid_ratio": 0.29}, 30, 100, False),
        ({"max_invalid_ratio": 0.0}, 0, 100, True),
        ({"max_invalid_ratio": 1.0}, 99, 100, True),
        ({"max_invalid_ratio": 1.0}, 100, 100, False),
        ({"max_invalid_records": 0}, 0, 0, False),
    ],
)
async def test_the_verdict_is_the_report_judged_by_the_form_s_tolerance(
    tolerance: dict[str, float] | None, invalid: int, samples: int, *, trains: bool
) -> None:
    world = World()
    world.scanner.invalid, world.scanner.samples = invalid, samples
    await imported(world, "d-1")
    said = await world.run(form_event(tolerance=tolerance))
    assert len(world.executor.submits) == trains
    if not trains:
        status = statuses(said)[-1]
        assert (status.phase, status.reason, status.party) == (Phase.FAILED, "dataset-rejected", "user")
        assert f"{invalid} of {samples}" in status.message


async def test_a_file_that_is_wrong_as_a_whole_is_never_tolerated() -> None:
    world = World()
    world.scanner.totals = {"empty-file": 1}
    await imported(world, "d-1")
    status = await refusal(world, form_event(tolerance={"max_invalid_ratio": 1.0}))
    assert status.reason == "dataset-rejected"


async def test_another_format_than_the_type_trains_on_is_refused() -> None:
    world = World()
    world.scanner.format = "preference"
    await imported(world, "d-1")
    status = await refusal(world, form_event())
    assert "preference" in status.message
    assert "sft" in status.message


async def test_all_bad_datasets_are_named_at_once() -> None:
    world = World()
    world.scanner.invalid = 1
    await imported(world, "d-1", "d-2")
    await world.deliver("dataset-validation", await world.import_dataset("d-3", None))
    status = await refusal(world, form_event("t-1", "d-1", "d-2", "d-3"))
    assert all(name in status.message for name in ("d-1", "d-2", "d-3"))


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        # 3 samples x 10 tokens x 2 epochs x 0.03 / 1000
        ({"amount": "0.0018", "currency": "CNY"}, None),
        ({"amount": "0.001799", "currency": "CNY"}, "max-cost-exceeded"),
        ({"amount": "0", "currency": "CNY"}, "max-cost-exceeded"),
        ({"amount": "1000", "currency": "EUR"}, "max-cost-currency"),
    ],
)
async def test_a_task_above_its_limit_is_not_dispatched(limit: dict[str, str], reason: str | None) -> None:
    world = World()
    await imported(world, "d-1")
    if reason is None:
        await world.run(form_event(max_cost=limit))
        assert len(world.executor.submits) == 1
    else:
        assert (await refusal(world, form_event(max_cost=limit))).reason == reason


async def test_where_the_fee_is_not_known_a_limit_refuses_and_no_limit_does_not() -> None:
    world = World()
    world.catalog.prices.clear()
    await imported(world, "d-1")
    status = await refusal(world, form_event(max_cost={"amount": "1000", "currency": "CNY"}))
    assert (status.reason, status.party) == ("cost-unknown", "platform")
    await world.run(form_event("t-2", "d-1"))
    assert [spec.task_id for spec in world.executor.submits] == ["t-2"]


# --- tasks that ended before -----------------------------------------------------------------------------------


async def test_a_stop_that_overtakes_its_task_holds() -> None:
    world = World()
    await imported(world, "d-1")
    await world.run(command_event("stop"))
    said = await world.run(form_event())
    assert world.executor.submits == []
    assert statuses(said)[-1].phase is Phase.TERMINATED


async def test_the_verdict_on_a_dataset_of_a_task_stopped_while_it_waited_for_another_is_no_error() -> None:
    world = World()
    await world.run(form_event("t-1", "d-1", "d-2"), form_event("t-2", "d-1"))
    await world.run(command_event("stop", "t-1"))
    (verdict,) = await imported(world, "d-1")
    await world.deliver("training-dispatch", verdict)
    assert [spec.task_id for spec in world.executor.submits] == ["t-2"]
    assert (await world.state("t-1")).phase is Phase.TERMINATED
    assert world.keys("waiting/") == []
