"""Training on from a model that was exported earlier: found by its id, priced and planned as what it was made of."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.model import Manifest
from handlers import layout
from handlers.planning.plan import Plan
from handlers.ports.catalog import ModelEntry
from handlers.ports.tokens import TokenRange
from tests.fakes.dispatch import refusal
from tests.fakes.estimation import estimate, verdict_on
from tests.fakes.world import TINY, World, form, form_event, received


async def exported(world: World, *more: str) -> str:
    """Have a model exported, with more files than an adapter's; return its id."""
    await world.dispatched()
    output = await world.leave_output()
    for name in more:
        await world.store.put(layout.attempt("t-1", 1) + f"outputs/step-10/{name}", b"{}")
        output["files"].append({"path": name, "size_bytes": 2, "sha256": layout.sha256_hex(b"{}")})
    (status,) = (await world.progress("succeeded", 5, outputs=[output])).events
    said = await world.run(received(status))
    model_id: str = next(received(each).data.model_id for each in said if each.topic == "model.exported")
    return model_id


def plan_of(world: World, task_id: str) -> Plan:
    return msgspec.json.decode(world.store.objects[layout.task(task_id, "plan")], type=Plan)


def on(model_id: str, **changes: Any) -> dict[str, Any]:
    return {"base_model": {"custom_model_id": model_id}} | changes


def change_manifest(world: World, model_id: str, **changes: Any) -> None:
    key = layout.model(model_id) + "manifest.json"
    manifest = msgspec.json.decode(world.store.objects[key], type=Manifest)
    world.store.objects[key] = msgspec.json.encode(replace(manifest, **changes))


def watch_counting(world: World) -> list[str]:
    """Return the prefixes of the tokenizers that are counted with from now on."""
    counted: list[str] = []
    count = world.tokens.count

    async def watched(files: Any, format: Any, model: ModelEntry, *more: Any, **options: Any) -> Any:
        counted.append(model.prefix)
        return await count(files, format, model, *more, **options)

    world.tokens.count = watched  # type: ignore[method-assign]  # a counter that says what it is asked
    return counted


@pytest.mark.parametrize(
    ("files", "below"),
    [((), ""), (("merged/model.safetensors", "merged/config.json"), "merged/")],
    ids=["adapter", "merged"],
)
async def test_a_task_trains_on_from_an_exported_model(files: tuple[str, ...], below: str) -> None:
    world = World()
    model_id = await exported(world, *files)
    first = plan_of(world, "t-1")

    counted = watch_counting(world)

    said = await world.run(form_event("t-2", "d-1", **on(model_id)))

    plan = plan_of(world, "t-2")
    assert plan.base_prefix == layout.model(model_id) + below
    assert (plan.base_model, plan.base_version, plan.context_length) == ("tiny", "1", 512)
    assert plan.hyperparameters == first.hyperparameters
    assert "training.dispatched" in {each.topic for each in said}
    assert counted == [plan.base_prefix]


async def test_what_comes_of_it_names_what_it_was_trained_from() -> None:
    world = World()
    model_id = await exported(world)
    await world.run(form_event("t-2", "d-1", **on(model_id)))
    output = await world.leave_output("t-2")
    (status,) = (await world.progress("succeeded", 5, "t-2", outputs=[output])).events
    (model,) = [received(each).data for each in await world.run(received(status)) if each.topic == "model.exported"]

    manifest = msgspec.json.decode(world.store.objects[world.store.key(model.manifest_uri)], type=Manifest)
    of_base = world.store.objects[layout.model(model_id) + "manifest.json"]
    assert model.base_model == model_id
    assert manifest.lineage["base"] == {
        "name": "tiny",
        "version": "1",
        "prefix": layout.model(model_id),
        "model_id": model_id,
        "revision": f"sha256:{layout.sha256_hex(of_base)}",
    }
    card = world.store.objects[layout.model(model.model_id) + "README.md"].decode()
    assert f"of `{model_id}`, a fine-tuned `tiny` version `1`" in card


async def test_it_is_estimated_for_the_price_of_what_it_was_made_of() -> None:
    world = World()
    model_id = await exported(world)

    hours = itertools.count()

    async def quoted(**changes: Any) -> Any:
        draft = form("t-9", "d-2") | changes
        imported_at = f"2026-01-02T{next(hours):02}:00:00Z"
        imported = {"draft": draft, "project": "default", "imported_at": imported_at}
        said = await world.run(await world.import_dataset("d-2", b"{}\n", **imported))
        return next(received(each).data.quote for each in said if each.topic == "cost.estimated")

    own, base = await quoted(**on(model_id)), await quoted()
    assert own.complete
    assert (own.amount, own.billed_tokens) == (base.amount, base.billed_tokens)
    missing = await quoted(**on("no-such-model"))
    assert not missing.complete
    assert any("there is no exported model no-such-model" in each for each in missing.missing)


async def test_a_quote_is_of_one_base_and_not_of_what_that_was_made_of() -> None:
    world = World()
    model_id = await exported(world)
    custom = form("t-2", "d-2") | on(model_id)
    first = await verdict_on(world, "d-2", draft=custom, imported_at="2026-01-01T00:00:01Z")
    own = (await estimate(world, first)).quote
    second = await verdict_on(world, "d-2", draft=form("t-2", "d-2"), imported_at="2026-01-01T00:00:02Z")
    base = (await estimate(world, second)).quote
    assert (own.model, base.model) == (model_id, "tiny@1")
    assert own.quote_id != base.quote_id
    world.executor.submits.clear()
    status = await refusal(world, form_event("t-2", "d-2", **on(model_id, quote_id=base.quote_id)))
    assert status.reason == "quote-changed"
    assert f"base model {model_id}, was tiny@1" in status.message
    unaddressed = form("t-3", "d-2") | on(model_id, task_id=None)
    cited = (await estimate(world, await verdict_on(world, "d-2", draft=unaddressed))).quote
    said = await world.run(form_event("t-3", "d-2", **on(model_id, quote_id=cited.quote_id)))
    assert [received(each).data.quote_id for each in said if each.topic == "training.dispatched"] == [cited.quote_id]


async def test_a_large_dataset_is_sampled_and_then_counted_with_the_exported_tokenizer() -> None:
    world = World()
    model_id = await exported(world)
    world.sampler.range = TokenRange(total=(20, 50), total_of_extremes=(7, 9), sampled=2)
    counted = watch_counting(world)
    verdict = await verdict_on(world, "d-2", draft=form("t-9", "d-2") | on(model_id))
    (said,) = (await world.deliver("cost-estimation", verdict)).events
    assert received(said).data.quote.interval is not None
    (said,) = (await world.deliver("exact-estimation", received(said))).events
    exact = received(said).data
    assert (exact.quote.complete, exact.quote.model, exact.revision) == (True, model_id, 2)
    assert counted == [layout.model(model_id)]


async def test_a_model_that_does_not_exist_is_refused_together_with_every_other_fault() -> None:
    world = World()
    status = await refusal(world, form_event(**on("gone-step1-abc", output_count=99)))
    found = {(fault.field, fault.code) for fault in status.faults}
    assert ("base_model.custom_model_id", "unknown-model") in found
    assert {field for field, _ in found} == {"base_model.custom_model_id", "output_count"}


def leave(world: World, model_id: str) -> None:
    """Change nothing."""


def withdraw(world: World, _: str) -> None:
    world.catalog.entries.clear()


def strip(world: World, model_id: str) -> None:
    change_manifest(world, model_id, lineage={})


def take_away(world: World, model_id: str) -> None:
    del world.store.objects[layout.model(model_id) + "manifest.json"]


CUSTOM = "base_model.custom_model_id"
REFUSED: dict[str, tuple[Callable[[World, str], None], dict[str, Any], str, str]] = {
    "another-project": (leave, {"project": "other"}, CUSTOM, "of another project"),
    "foundation-withdrawn": (withdraw, {}, CUSTOM, "not in the catalogue any more"),
    "another-kind": (leave, {"training_type": "Embedding"}, "training_type", "not available for tiny"),
    "no-lineage": (strip, {}, CUSTOM, "cannot be used"),
    "taken-away": (take_away, {}, CUSTOM, "there is no exported model"),
}


@pytest.mark.parametrize(("spoil", "changes", "field", "says"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_trained_on_is_refused_with_the_reason(
    spoil: Callable[[World, str], None], changes: dict[str, Any], field: str, says: str
) -> None:
    world = World()
    model_id = await exported(world)
    world.executor.submits.clear()
    spoil(world, model_id)
    status = await refusal(world, form_event("t-2", "d-1", **on(model_id, **changes)))
    (fault,) = status.faults
    assert (fault.field, says in fault.message) == (field, True), fault.message


async def test_a_project_that_is_none_is_a_fault_of_its_own() -> None:
    world = World()
    model_id = await exported(world)
    world.executor.submits.clear()
    status = await refusal(world, form_event("t-2", "d-1", **on(model_id, project="a/b")))
    assert {fault.field for fault in status.faults} == {"project"}


@pytest.mark.parametrize(
    ("prefix", "model_id"),
    [
        ("models/m-1/", "m-1"),
        ("models/m-1/merged/", "m-1"),
        ("models/%2E./", ".."),
        ("base-models/tiny/1/", None),
        ("models", None),
        ("modelsx/m/", None),
    ],
)
def test_a_prefix_of_the_repository_says_whose_it_is(prefix: str, model_id: str | None) -> None:
    assert layout.exported_model(prefix) == model_id
    assert TINY.prefix != prefix or model_id is None
