"""Whether a task may train: its data judged by its own tolerance, its fee by its limit, and what ended before."""

from typing import Any, get_args

import msgspec
import pytest

from contracts.task import Phase, TrainingType
from handlers import layout
from handlers.planning.build import FORMATS
from handlers.planning.plan import Plan
from handlers.pricing import method_of
from tests.fakes.dispatch import imported, refusal
from tests.fakes.world import World, command_event, form, form_event, received, statuses
from worker.catalog import load_catalog

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


@pytest.mark.parametrize("training_type", get_args(TrainingType))
async def test_every_training_type_is_priced_planned_and_dispatched(training_type: str) -> None:
    world = World()
    world.ports["catalog"] = load_catalog()
    world.scanner.format = FORMATS[training_type]
    model = "tiny-encoder" if training_type == "Embedding" else "tiny"
    changes: dict[str, Any] = {
        "training_type": training_type,
        "base_model": {"foundation": {"name": model, "version": "1"}},
    }
    said = await world.run(await world.import_dataset("d-1", b"{}\n", draft=form(**changes)), form_event(**changes))

    (estimated,) = [received(event).data for event in said if event.topic == "cost.estimated"]
    assert estimated.quote.complete
    assert (estimated.quote.model, estimated.quote.method) == (f"{model}@1", method_of(training_type))
    assert len(world.submitted) == 1
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    assert (plan.training_type, plan.format, plan.method) == (
        training_type,
        FORMATS[training_type],
        method_of(training_type),
    )
    assert plan.hyperparameters.keys() >= {"epochs", "learning_rate", "precision"}


async def test_a_training_type_that_is_not_for_the_model_is_refused_with_those_that_are() -> None:
    world = World()
    world.ports["catalog"] = load_catalog()
    status = await refusal(world, form_event(training_type="Embedding"))
    (fault,) = status.faults
    assert (fault.field, fault.code) == ("training_type", "not-available")
    assert "not available for tiny; choose one of FinetuneSft, FinetuneLoRA, Pretrain, DPO, DPOLoRA" in fault.message


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
