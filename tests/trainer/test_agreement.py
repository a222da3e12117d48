"""The quote, the plan and the trainer are about the same samples: what is invalid or too long is in none of them."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.datasets.findings import Finding
from contracts.task import Phase
from handlers import layout
from handlers.planning.build import FORMATS
from handlers.planning.plan import Plan
from tests.fakes.few_samples import TEXTS
from tests.fakes.service import LINES, imported, model_for, ndjson, sample, world, world_of_all
from tests.fakes.world import TINY, World, form, form_event, statuses
from tests.trainer.bench import built, trained_on
from worker.catalog import load_catalog
from worker.catalog.loader import MODELS_FILE
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.trainer.base_models import tokenizer_of
from worker.trainer.dataset import Datasets, EpochSampler
from worker.trainer.hyperparameters import Hyperparameters, hyperparameters_of
from worker.trainer.recipes import recipe_of
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.trainer.token_file import Row, Tokens

pytestmark = pytest.mark.trainer


LONG = sample("long " * 600)
FIRST = b"\xef\xbb\xbf" + sample("one") + b"\r\n" + b"{broken\n" + LONG + sample("二") + sample("x" * 40)
SECOND = LONG + sample("four") + LONG + b'{"messages": []}\n' + sample("five")[:-1]


async def trained(world: World, folder: Path, tokenizer: TokenizerFiles | None = None) -> tuple[Plan, Datasets]:
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    encoder = SampleEncoder(tokenizer or tiny_tokenizer())
    return plan, await built(world.store, plan, encoder, folder)


def lengths(data: Datasets) -> list[int]:
    return [len(row.sequences[0].ids) for row in trained_on(data)]


async def test_quote_plan_and_trainer_leave_out_the_same_lines(tmp_path: Path) -> None:
    service = world(tmp_path)
    submitted: dict[str, Any] = {"tolerance": {"max_invalid_records": 2}}
    (rejected,) = await imported(service, "d-1", FIRST, SECOND, format="sft")
    assert (rejected.samples, rejected.valid_samples) == (10, 8)
    # The draft of another import prices this one: it came without one, so nobody asked.
    *_, estimated = await imported(service, "d-2", sample("x") * 20, draft=form(**submitted))
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path)

    (item,), (planned,) = estimated.quote.items, plan.training
    assert estimated.quote.complete
    assert len(data.training) == item.samples == planned.samples == 5
    assert sum(lengths(data)) == item.tokens
    assert planned.too_long == sum(each.samples for each in item.too_long) == 3
    # Every one of them is listed, with its line.
    listed = {
        each.file.rsplit("/", 1)[1]: [
            msgspec.json.decode(line, type=Finding).line
            for line in service.store.objects[service.store.key(each.findings_uri)].splitlines()
        ]
        for each in item.too_long
    }
    assert listed == {"0.jsonl": [4], "1.jsonl": [1, 3]}


@pytest.mark.parametrize(
    ("training_type", "chosen"),
    [
        ("FinetuneSft", {}),
        ("FinetuneLoRA", {}),
        ("Pretrain", {}),
        ("DPO", {"pairs": "all"}),
        ("DPO", {"pairs": "best-worst"}),
        ("DPOLoRA", {}),
        ("Embedding", {}),
    ],
)
async def test_the_tokens_of_a_quote_are_those_an_epoch_of_training_sees(
    tmp_path: Path, training_type: str, chosen: dict[str, Any]
) -> None:
    service = world_of_all(tmp_path)
    lines, model = LINES[FORMATS[training_type]], model_for(training_type)
    submitted: dict[str, Any] = {
        "training_type": training_type,
        "base_model": {"foundation": {"name": model.name, "version": "1"}},
        "training_set": [{"dataset_id": "d-1", "multiplier": 2}],
        "hyperparameters": {"epochs": 3} | chosen,
        "tolerance": {"max_invalid_records": 1},
    }
    await imported(service, "d-1", ndjson([*lines, {"broken": 1}]), format=FORMATS[training_type])
    # The draft of another import prices this one: a dataset with a bad line has no estimate of its own.
    *_, estimated = await imported(
        service, "d-2", ndjson(lines[:1]), format=FORMATS[training_type], draft=form(**submitted)
    )
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path, tokenizer_of(model.name))

    seen = sum(len(tokens.ids) for tokens in sequences(plan, data))
    assert estimated.quote.complete
    (item,) = estimated.quote.items
    assert (seen, item.epochs) == (item.tokens, 3)
    assert estimated.quote.billed_tokens == 3 * seen
    assert item.samples == len(data.training) == 2 * 6
    assert sum(each.samples for each in item.too_long) == (0 if training_type == "Pretrain" else 1)


@pytest.mark.parametrize("training_type", ["FinetuneSft", "Pretrain", "DPO", "Embedding"])
async def test_what_is_split_drawn_and_mixed_in_is_the_same_in_quote_plan_and_training(
    tmp_path: Path, training_type: str
) -> None:
    service = world_of_all(tmp_path)
    catalog = tmp_path / "models.toml"
    catalog.write_text(
        MODELS_FILE.read_text() + f'\n[[presets.{training_type}]]\ndataset_id = "preset"\nversion = "1"\n'
    )
    service.ports["catalog"] = load_catalog(catalog)
    wanted, model = FORMATS[training_type], model_for(training_type)
    submitted: dict[str, Any] = {
        "training_type": training_type,
        "base_model": {"foundation": {"name": model.name, "version": "1"}},
        "training_set": [{"dataset_id": "d-1", "multiplier": 1.5}],
        "validation": {"percent": 40},
        "preset_mix": {"percent": 50, "when_short": "repeat"},
        "shuffle": 2,
    }
    await imported(service, "preset", ndjson(LINES[wanted]), format=wanted)
    *_, estimated = await imported(service, "d-1", ndjson(LINES[wanted] * 2), format=wanted, draft=form(**submitted))
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path, tokenizer_of(model.name))

    assert estimated.quote.complete
    assert {item.kind for item in estimated.quote.items} == {"user", "validation", "preset"}
    assert plan.fates_key in service.store.objects
    billed = [item for item in estimated.quote.items if item.kind != "validation"]
    assert sum(item.samples for item in billed) == len(data.training)
    assert sum(item.tokens for item in billed) == sum(len(each.ids) for each in sequences(plan, data))
    assert sum(item.samples for item in estimated.quote.items if item.kind == "validation") == len(data.validation)
    assert set(data.training.tolist()).isdisjoint(data.validation.tolist())


@pytest.mark.parametrize("shuffle", ["none", 3])
@pytest.mark.parametrize("max_steps", [1, 3, 5, 14])
@pytest.mark.parametrize("training_type", ["FinetuneSft", "Pretrain", "DPO", "Embedding"])
async def test_what_is_trained_until_the_last_step_is_what_is_quoted_planned_and_billed(
    tmp_path: Path, training_type: str, max_steps: int, shuffle: int | str
) -> None:
    service, wanted, model = world_of_all(tmp_path), FORMATS[training_type], model_for(training_type)
    submitted: dict[str, Any] = {
        "training_type": training_type,
        "base_model": {"foundation": {"name": model.name, "version": "1"}},
        "training_set": [{"dataset_id": "d-1", "multiplier": 1.5}],
        "hyperparameters": {"max_steps": max_steps, "batch_size": 2, "gradient_accumulation": 2, "epochs": 2},
        "shuffle": shuffle,
    }
    *_, estimated = await imported(service, "d-1", ndjson(LINES[wanted]), format=wanted, draft=form(**submitted))
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path, tokenizer_of(model.name))

    seen = [row for step in steps_of(plan, data) for row in step]
    quote = estimated.quote
    assert quote.complete
    assert quote.billed_tokens == sum(len(tokens.ids) for row in seen for tokens in row.sequences)
    assert plan.draws is not None
    epochs, drawn = plan.draws.over(2)
    assert [(each.samples, each.tokens, epochs) for each in drawn] == [
        (item.samples, item.tokens, item.epochs) for item in quote.items
    ]
    if training_type != "Pretrain":
        assert sum(item.samples * item.epochs for item in quote.items) == len(seen)


def steps_of(plan: Plan, data: Datasets) -> Iterator[list[Row]]:
    """Yield the rows of each step, as a run takes them."""
    chosen = hyperparameters_of(plan)
    rows = recipe_of(plan, chosen).rows(data.reader, data.training)
    sampler = EpochSampler(len(rows), plan.seed, shuffle=plan.shuffle == "random")
    size = chosen.batch_size * chosen.gradient_accumulation
    left = chosen.total_steps(len(rows))
    for epoch in itertools.count():
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), size):
            if not left:
                return
            left -= 1
            yield [rows[number] for number in order[start : start + size]]


async def test_what_is_counted_as_trained_of_a_text_that_is_cut_has_labels(tmp_path: Path) -> None:
    service = world_of_all(tmp_path)
    submitted: dict[str, Any] = {"training_type": "Pretrain"}
    await imported(service, "d-1", ndjson(TEXTS), format="pretrain")
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path)

    counts = await service.ports["tokens"].count(plan.training[0].files, "pretrain", model_for("Pretrain"))

    pieces = list(sequences(plan, data))
    assert len(pieces) == len(TEXTS) + 1
    assert counts.total == sum(len(piece.ids) for piece in pieces)
    assert counts.trained == sum(int((piece.weights[1:] > 0).sum()) for piece in pieces)


def sequences(plan: Plan, data: Datasets) -> Iterator[Tokens]:
    """Yield what one epoch trains on."""
    rows = recipe_of(plan, hyperparameters_of(plan)).rows(data.reader, data.training)
    return (tokens for index in range(len(rows)) for tokens in rows[index].sequences)


async def test_a_multiplier_repeats_what_is_kept_in_the_quote_and_in_training(tmp_path: Path) -> None:
    service = world(tmp_path)
    training_set = [{"dataset_id": "d-1", "multiplier": 3}]
    body = sample("a") + LONG + sample("bb")
    *_, estimated = await imported(service, "d-1", body, draft=form(training_set=training_set))
    await service.run(form_event(training_set=training_set))
    plan, data = await trained(service, tmp_path)

    (item,) = estimated.quote.items
    assert (item.samples, len(data.training), plan.training[0].samples) == (6, 6, 2)
    assert item.tokens == sum(lengths(data))


async def test_a_task_whose_every_sample_is_too_long_is_not_dispatched(tmp_path: Path) -> None:
    service = world(tmp_path)
    await imported(service, "d-1", LONG * 2)
    said = statuses(await service.run(form_event()))

    assert service.executor.submits == []
    assert (said[-1].phase, said[-1].reason, said[-1].party) == (Phase.FAILED, "nothing-to-train", "user")
    assert "all 2 valid samples are longer than the context of tiny, 512 tokens" in said[-1].message


async def test_where_counts_cannot_be_had_a_task_is_dispatched_as_before(tmp_path: Path) -> None:
    service = world(tmp_path)
    await imported(service, "d-1", sample("a") + LONG)
    del service.store.objects[TINY.prefix + "tokenizer.json"]
    await service.run(form_event())

    (planned,) = msgspec.json.decode(service.store.objects[layout.task("t-1", "plan")], type=Plan).training
    assert (planned.samples, planned.too_long) == (2, None)


def test_what_may_be_set_is_what_the_trainer_knows() -> None:
    known = set(Hyperparameters.__struct_fields__)
    registered = {
        name for model in load_catalog().models() for rules in model.training_types.values() for name in rules
    }

    assert registered == known
