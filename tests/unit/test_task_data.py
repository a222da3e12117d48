"""What the fee is about and what is planned, where samples are drawn, split off or mixed in."""

from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.quote import Quote
from contracts.task import Phase
from handlers import layout
from handlers.planning.plan import Plan
from handlers.planning.sample_rows import State
from handlers.ports.catalog import PresetDataset
from tests.fakes.dispatch import imported, refusal
from tests.fakes.estimation import estimate, verdict_on
from tests.fakes.samples import Line
from tests.fakes.tokens import RowCounter
from tests.fakes.world import World, form, form_event, statuses
from worker.dry_run import UnwritingPlanner

#: 40 lines of 1 to 40 tokens, two of which are no samples for the model; 30 of the platform's, half of them the same.
USERS = [Line(n, tokens=n + 1) for n in range(38)] + [Line(98, 900, state=State.TOO_LONG), Line(0, 0, 0, State.INVALID)]
PRESETS = [Line(n, tokens=7) for n in range(20, 50)]


def world(**lines: list[Line]) -> World:
    service = World()
    given = {"d-1": USERS, "d-2": USERS[:5], "held": [Line(n, tokens=3) for n in range(4)], "preset": PRESETS}
    service.ports["tokens"] = RowCounter(service.store, given | {name.replace("_", "-"): lines[name] for name in lines})
    service.catalog.preset_datasets = [PresetDataset(dataset_id="preset", version="3")]
    return service


async def quoted(service: World, **changes: Any) -> Quote:
    for name in ("d-2", "held", "preset"):
        await verdict_on(service, name, draft=None)
    return (await estimate(service, await verdict_on(service, draft=form(**changes)))).quote


def plan_of(service: World, task_id: str = "t-1") -> Plan:
    return msgspec.json.decode(service.store.objects[layout.task(task_id, "plan")], type=Plan)


async def planned(service: World, task_id: str = "t-1", **changes: Any) -> Plan:
    await imported(service, "d-1", "d-2", "held", "preset")
    await service.run(form_event(task_id, **changes))
    return plan_of(service, task_id)


def figures(quote: Quote) -> list[tuple[str, str, int]]:
    return [(item.kind, item.dataset_id, item.samples) for item in quote.items]


DRAWN: list[tuple[dict[str, Any], list[tuple[str, str, int]]]] = [
    ({"training_set": [{"dataset_id": "d-1", "multiplier": 1.5}]}, [("user", "d-1", 57)]),
    ({"training_set": [{"dataset_id": "d-1", "sample_count": 100}]}, [("user", "d-1", 100)]),
    (
        {"training_set": [{"dataset_id": "d-1", "multiplier": 2}, {"dataset_id": "d-2", "sample_count": 2}]},
        [("user", "d-1", 76), ("user", "d-2", 2)],
    ),
    ({"validation": {"percent": 20}}, [("user", "d-1", 31), ("validation", "d-1", 7)]),
    ({"validation": {"dataset_ids": ["held"]}}, [("validation", "held", 4), ("user", "d-1", 34)]),
    ({"preset_mix": {"percent": 20}}, [("user", "d-1", 38), ("preset", "preset", 10)]),
    (
        {"preset_mix": {"percent": 60, "when_short": "repeat"}, "validation": {"percent": 20}},
        [("user", "d-1", 31), ("validation", "d-1", 7), ("preset", "preset", 47)],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), DRAWN)
async def test_the_fee_of_a_draw_is_exact_and_complete_and_that_of_the_plan(
    changes: dict[str, Any], expected: list[tuple[str, str, int]]
) -> None:
    service = world()
    quote = await quoted(service, hyperparameters={"epochs": 3}, **changes)
    plan = await planned(service, hyperparameters={"epochs": 3}, **changes)

    assert (quote.complete, quote.missing) == (True, ())
    assert figures(quote) == expected
    assert plan.draws is not None
    assert [(each.kind, each.dataset_id, each.samples, each.tokens) for each in plan.draws.drawn] == [
        (item.kind, item.dataset_id, item.samples, item.tokens) for item in quote.items
    ]
    billed = sum(item.tokens for item in quote.items if item.kind != "validation") * 3
    assert quote.billed_tokens == billed
    assert Decimal(quote.amount or "") == billed * Decimal("0.03") / 1000
    # What is billed is what is in the table, sample by sample.
    rows = table(service, plan)
    assert sum(row["times"] * row["tokens"] for row in rows if row["fate"] in {"trained", "preset"}) * 3 == billed


def table(service: World, plan: Plan) -> list[dict[str, Any]]:
    assert plan.fates_key is not None
    found = pq.read_table(pa.BufferReader(service.store.objects[plan.fates_key])).to_pylist()
    assert isinstance(found, list)
    return found


async def test_a_validation_item_costs_nothing() -> None:
    quote = await quoted(world(), validation={"percent": 20})

    user, validation = quote.items
    assert (validation.factor, validation.amount) == ("0", "0.00")
    assert validation.tokens > 0
    assert (user.factor, quote.amount) == ("1", user.amount)


async def test_of_whole_passes_nothing_is_drawn_and_the_sums_are_the_same() -> None:
    plain = await quoted(world(), training_set=[{"dataset_id": "d-1", "multiplier": 3}])
    plan = await planned(world(), training_set=[{"dataset_id": "d-1", "multiplier": 3}])

    (item,) = plain.items
    assert plan.draws is not None
    (drawn,) = plan.draws.drawn
    assert (item.samples, item.tokens) == (drawn.samples, drawn.tokens) == (3 * 38, 3 * sum(range(1, 39)))


async def test_the_fate_of_every_line_is_beside_the_plan() -> None:
    service = world()
    plan = await planned(
        service,
        training_set=[{"dataset_id": "d-1", "multiplier": 0.5}],
        validation={"percent": 20},
        preset_mix={"percent": 20},
    )
    rows = table(service, plan)

    assert list(rows[0]) == ["kind", "dataset", "file", "line", "fate", "times", "tokens", "reason"]
    assert [(row["dataset"], row["line"]) for row in rows] == [("d-1", n) for n in range(1, 41)] + [
        ("preset", n) for n in range(1, 31)
    ]
    assert {(row["fate"], row["reason"]) for row in rows} == {
        ("trained", None), ("validation", None), ("preset", None), ("excluded", "invalid"), ("excluded", "too-long"),
        ("excluded", "leak"), ("excluded", "not-drawn"),
    }  # fmt: skip
    assert all((row["times"] > 0) == (row["fate"] != "excluded") for row in rows)
    assert plan.draws is not None
    excluded = {(each.dataset_id, each.reason): each.samples for each in plan.draws.excluded}
    assert excluded["d-1", "invalid"] == excluded["d-1", "too-long"] == 1
    assert excluded["preset", "leak"] == sum(row["reason"] == "leak" for row in rows)
    assert plan.draws.mix is not None
    assert (plan.draws.mix.wanted, plan.draws.mix.drawn, plan.draws.mix.achieved_percent) == (4, 4, 20.0)
    assert plan.presets[0].version == "3"


async def test_the_same_task_has_the_same_plan_wherever_it_lies_and_whatever_its_id() -> None:
    changes: dict[str, Any] = {"validation": {"percent": 20}, "preset_mix": {"percent": 20}}
    here, there = world(), world()
    there.store.ROOT = "memory://elsewhere/"
    plans = [await planned(here, **changes), await planned(there, "t-2", **changes)]

    assert plans[0].plan_hash == plans[1].plan_hash
    assert plans[0] != plans[1]
    others: list[dict[str, Any]] = [
        changes | {"shuffle": 5},
        changes | {"shuffle": "none"},
        changes | {"hyperparameters": {"epochs": 1}},
        changes | {"preset_mix": {"percent": 21}},
        {"validation": {"percent": 20}},
    ]
    hashes = {(await planned(world(), **other)).plan_hash for other in others}
    assert len(hashes - {plans[0].plan_hash}) == len(others)


async def test_a_line_keeps_its_side_under_another_form() -> None:
    def held(service: World, plan: Plan) -> set[int]:
        return {row["line"] for row in table(service, plan) if row["fate"] == "validation"}

    first, second = world(), world(d_1=USERS + [Line(n) for n in range(200, 260)])
    before = held(first, await planned(first, validation={"percent": 20}))
    after = held(second, await planned(second, validation={"percent": 20}, shuffle="none"))

    assert before
    assert before == {line for line in after if line <= len(USERS)}


# --- what cannot be drawn --------------------------------------------------------------------------------------


async def test_too_few_preset_samples_refuse_the_task_and_leave_the_quote_open() -> None:
    service = world()
    quote = await quoted(service, preset_mix={"percent": 60})
    assert (quote.complete, quote.amount) == (False, None)
    (missing,) = quote.missing
    assert missing.startswith("preset_mix: 57 preset samples are wanted, and there are 30;")

    await imported(service, "d-1", "preset")
    status = await refusal(service, form_event(preset_mix={"percent": 60}))
    assert (status.reason, status.party) == ("preset-too-small", "user")
    assert missing in status.message


async def test_a_task_all_of_whose_samples_leak_is_refused_with_the_reason() -> None:
    service = world(held=USERS[:38])
    await imported(service, "d-1", "held")
    status = await refusal(service, form_event(validation={"dataset_ids": ["held"]}))

    assert (status.reason, status.party) == ("nothing-to-train", "user")
    assert "leak: 38" in status.message


async def test_a_preset_dataset_with_a_fault_is_the_platforms() -> None:
    service = world()
    await imported(service, "d-1")
    service.scanner.invalid = 1
    await imported(service, "preset")
    status = await refusal(service, form_event(preset_mix={"percent": 20}, tolerance={"max_invalid_records": 2}))

    assert (status.reason, status.party) == ("preset-rejected", "platform")


async def test_a_task_waits_for_the_verdict_on_its_preset_data() -> None:
    service = world()
    await imported(service, "d-1")
    said = statuses(await service.run(form_event(preset_mix={"percent": 20})))
    assert [each.phase for each in said] == [Phase.PREPROCESSING]

    await service.run(await service.import_dataset("preset", b"{}\n"))
    assert len(service.submitted) == 1


async def test_without_preset_data_a_mix_is_a_fault_of_the_form_and_is_missing_in_a_draft() -> None:
    service = world()
    service.catalog.preset_datasets = []
    quote = await quoted(service, preset_mix={"percent": 20})
    assert quote.missing == ("preset_mix: no preset dataset is configured for FinetuneLoRA",)

    (fault,) = (await refusal(service, form_event(preset_mix={"percent": 20}))).faults
    assert (fault.field, fault.code) == ("preset_mix", "no-preset-dataset")


async def test_a_dry_run_draws_and_leaves_no_table() -> None:
    service = world()
    wet = await planned(service, validation={"percent": 20})
    assert wet.fates_key is not None
    del service.store.objects[wet.fates_key]
    service.ports["planner"] = UnwritingPlanner(service.ports["planner"])
    dry = await planned(service, "t-2", validation={"percent": 20})

    assert dry.draws == wet.draws
    assert not [key for key in service.store.objects if key.endswith(".parquet")]


async def test_rows_that_are_gone_leave_the_quote_open() -> None:
    service = world()
    draft = form(validation={"percent": 20})
    verdict = await verdict_on(service, draft=draft)

    class Forgetful(RowCounter):
        async def count(self, *given: Any, **named: Any) -> Any:
            counts = await super().count(*given, **named)
            await service.store.delete(counts.tables[0])
            return counts

    service.ports["tokens"] = Forgetful(service.store, {"d-1": USERS})
    quote = (await estimate(service, verdict)).quote
    assert quote.missing[0].startswith("the draw of samples: their rows are gone")
