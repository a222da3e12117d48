"""Export: all of it or none, once, and nothing a trainer should not have left."""

import ast
import contextlib
import re
from functools import partial
from typing import Any

import msgspec
import pytest
from huggingface_hub import ModelCard

from contracts.envelope import Event
from contracts.gguf import Gguf
from contracts.model import Manifest, ModelExported
from contracts.task import Phase
from contracts.training import FileDigest, Output
from handlers import layout, task_state
from handlers import model_card as model_cards
from handlers.exported_files import model_id
from handlers.manifests import kept_because
from handlers.model_card import model_card
from handlers.planning.plan import Plan
from handlers.task_state import TaskState
from tests.fakes.faults import Crash, Faults, faulty_world, survives
from tests.fakes.steps import interleave, preempted, steps_of
from tests.fakes.world import World, bodies, command_event, ids, received, statuses

BEST = "validation-loss"


async def _trained(world: World, *steps: int, **changes: Any) -> Event[Any]:
    """Bring a task to Completing with an output a step; return the status that says so."""
    await world.dispatched()
    outputs = [await world.leave_output(step=step) | changes for step in steps or (10,)]
    (status,) = (await world.progress("succeeded", 5, outputs=outputs)).events
    return received(status)


async def _export(world: World, status: Event[Any]) -> list[Event[Any]]:
    return list((await world.deliver("model-export", status)).events)


def _models(said: list[Event[Any]]) -> list[ModelExported]:
    return [received(each).data for each in said if each.topic == "model.exported"]


def _manifest(world: World, model: ModelExported) -> Manifest:
    body = world.store.objects[world.store.key(model.manifest_uri)]
    return msgspec.json.decode(body, type=Manifest)


async def test_a_kept_output_becomes_a_model_and_the_task_completes() -> None:
    world = World()
    said = await _export(world, await _trained(world))
    (model,) = _models(said)
    assert (model.task_id, model.attempt, model.step, model.kind, model.loss) == ("t-1", 1, 10, "adapter", 0.5)
    assert model.base_model == "tiny@1"
    prefix = layout.model(model.model_id)
    names = ["README.md", "adapter_config.json", "adapter_model.safetensors", "manifest.json"]
    assert [key.removeprefix(prefix) for key in world.keys(prefix)] == names
    (status,) = statuses(said)
    assert (status.phase, status.message) == (Phase.COMPLETED, "1 model in the repository")


async def test_the_manifest_describes_every_file_and_what_the_model_was_made_of() -> None:
    world = World()
    (model,) = _models(await _export(world, await _trained(world)))
    manifest = _manifest(world, model)
    prefix = layout.model(model.model_id)
    files = {key.removeprefix(prefix): world.store.objects[key] for key in world.keys(prefix)}
    del files["manifest.json"]
    described = {file.path: (file.size, file.digest) for file in manifest.files}
    assert described == {name: (len(body), "sha256:" + layout.sha256_hex(body)) for name, body in files.items()}
    types = {file.path: file.media_type.removeprefix("application/vnd.cncf.model.") for file in manifest.files}
    assert types["adapter_model.safetensors"] == "weight.v1.raw"
    assert (types["adapter_config.json"], types["README.md"]) == ("weight.config.v1.raw", "doc.v1.raw")
    as_json = msgspec.json.decode(world.store.objects[world.store.key(model.manifest_uri)])
    assert as_json["files"][0].keys() == {"path", "mediaType", "digest", "size"}
    assert manifest.project == "default"
    assert model.size_bytes == sum(map(len, files.values()))
    assert manifest.lineage["training"][0]["files"][0]["sha256"] == "ab" * 32
    assert manifest.lineage["hyperparameters"] == {"epochs": 2}
    assert (manifest.attempt, manifest.step, manifest.metrics) == (1, 10, {"loss": 0.5})


async def test_the_lineage_pins_base_tokenizer_and_code() -> None:
    world = World()
    await world.store.put("base-models/tiny/1/complete.json", b'{"files": []}')
    tokenizer = {"path": "tokenizer.json", "size_bytes": 3, "sha256": "cd" * 32}
    await world.dispatched()
    output = await world.leave_output()
    await world.store.put(layout.attempt("t-1", 1) + "outputs/step-10/tokenizer.json", b"tok")
    output |= {"files": [*output["files"], tokenizer], "versions": {"finetune-worker": "0.1.0", "torch": "2.13.0"}}
    (status,) = (await world.progress("succeeded", 5, outputs=[output])).events
    (model,) = _models(await _export(world, received(status)))
    lineage = _manifest(world, model).lineage
    assert lineage["base"] == {
        "name": "tiny",
        "version": "1",
        "prefix": "base-models/tiny/1/",
        "revision": "sha256:" + layout.sha256_hex(b'{"files": []}'),
    }
    assert lineage["tokenizer"] == {"tokenizer.json": "sha256:" + "cd" * 32}
    assert lineage["versions"] == {"finetune-worker": "0.1.0", "torch": "2.13.0"}
    assert {"seed", "shuffle", "validation", "validation_percent", "executor", "training_type"} <= lineage.keys()


async def test_every_kept_output_is_exported_under_a_name_of_its_own() -> None:
    world = World()
    said = await _export(world, await _trained(world, 10, 20, 30))
    assert [model.step for model in _models(said)] == [10, 20, 30]
    assert len({model.model_id for model in _models(said)}) == 3
    assert len(set(ids(said))) == len(said)
    assert statuses(said)[-1].message == "3 models in the repository, at least 10 steps apart"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((None, None, None), {10: ("last", 3, 20), 30: ("last", 2, 5), 35: ("last", 1, 5)}),
        (
            (0.3, 0.1, 0.2),
            {10: ("validation-loss", 3, 20), 30: ("validation-loss", 1, 5), 35: ("validation-loss", 2, 5)},
        ),
        # A checkpoint that was written on the way out of an interrupted attempt was not measured.
        ((0.3, None, None), {10: (BEST, 1, 20), 30: ("last", 2, 5), 35: ("last", 1, 5)}),
    ],
    ids=["last", "best", "mixed"],
)
async def test_a_manifest_says_why_its_checkpoint_was_kept_and_how_far_the_next_one_is(
    losses: Any, expected: dict[int, tuple[str, int, int]]
) -> None:
    world = World()
    await world.dispatched()
    outputs = [await world.leave_output(step=step) for step in (10, 30, 35)]
    for output, loss in zip(outputs, losses, strict=True):
        output["validation_loss"] = loss
    (status,) = (await world.progress("succeeded", 5, outputs=outputs)).events
    manifests = [_manifest(world, model) for model in _models(await _export(world, received(status)))]
    assert {each.step: (each.kept.by, each.kept.rank, each.kept.distance) for each in manifests} == expected
    assert {each.kept.steps for each in manifests} == {(10, 30, 35)}


async def test_a_single_output_is_no_distance_from_any_other() -> None:
    world = World()
    (model,) = _models(await _export(world, await _trained(world)))
    kept = _manifest(world, model).kept
    assert (kept.by, kept.rank, kept.steps, kept.distance) == ("last", 1, (10,), None)


async def test_the_manifest_is_written_last() -> None:
    world = World()
    status = await _trained(world, 10, 20)
    world.store.puts.clear()
    for model in _models(await _export(world, status)):
        prefix = layout.model(model.model_id)
        written = [key for key in world.store.puts if key.startswith(prefix)]
        assert written[-1] == prefix + "manifest.json"
        assert written.count(prefix + "manifest.json") == 1


async def test_weights_never_pass_through_the_worker() -> None:
    world = World()
    status = await _trained(world)
    read: list[str] = []
    get = world.store.get

    async def watched(key: str, **options: Any) -> Any:
        read.append(key)
        return await get(key, **options)

    world.store.get = watched  # type: ignore[method-assign]  # a bucket that says what is read of it
    await _export(world, status)
    assert not [key for key in read if "safetensors" in key]


# --- again ---------------------------------------------------------------------------------------------------


async def test_a_duplicate_copies_nothing_and_says_the_same_models() -> None:
    world = World()
    status = await _trained(world, 10, 20)
    first = await _export(world, status)
    world.store.puts.clear()
    again = await _export(world, status)
    assert world.store.puts == []
    assert (ids(again), bodies(again)) == (ids(first), bodies(first))


async def test_once_deleted_the_models_are_still_said_and_nothing_is_copied_anew() -> None:
    world = World()
    status = await _trained(world)
    first = await _export(world, status)
    await world.run(command_event("delete"))
    assert world.keys("tasks/t-1/attempts/") == []
    again = await _export(world, status)
    assert ids(again)[:-1] == ids(first)[:-1]
    assert statuses(again)[-1].reason == "deleted"


async def test_only_a_completing_task_is_exported_whatever_an_event_claims() -> None:
    world = World()
    await world.dispatched()
    (running,) = (await world.progress("running", 1)).events
    assert await _export(world, received(running)) == []
    claimed = received(running)
    claimed = msgspec.structs.replace(claimed, data=msgspec.structs.replace(claimed.data, phase=Phase.COMPLETING))
    assert await _export(world, claimed) == []
    assert world.keys("models/") == []


async def test_two_workers_that_export_at_once_make_one_model() -> None:
    async def begin() -> tuple[World, Event[Any]]:
        world = World()
        return world, await _trained(world)

    world, status = await begin()
    for order in preempted(steps_of(_export(world, status))):
        world, status = await begin()
        said = interleave(_export(world, status), _export(world, status), order=order)
        assert bodies(said[0]) == bodies(said[1])
        assert len(world.keys("receipts/model-export/")) == 1
        assert (await world.state("t-1")).phase is Phase.COMPLETED


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_the_export_is_finished_by_the_redelivery(*, after: bool) -> None:
    async def begin() -> tuple[World, Faults, Event[Any]]:
        world, faults = faulty_world()
        return world, faults, await _trained(world, 10, 20)

    world, faults, status = await begin()
    already = len(faults.calls)
    baseline = await _export(world, status)
    complete = {key: world.store.objects[key] for key in world.keys("models/")}
    for at in range(len(faults.calls) - already):
        world, faults, status = await begin()
        outcome = await survives(faults, at, after=after, deliver=partial(world.deliver, "model-export", status))
        assert (ids(outcome.events)[:2], bodies(outcome.events)[:2]) == (ids(baseline)[:2], bodies(baseline)[:2])
        assert {key: world.store.objects[key] for key in world.keys("models/")} == complete
        assert (await world.state("t-1")).phase is Phase.COMPLETED


def _disagreements(world: World) -> list[str]:
    """Return the files that are not what the manifest of their model names."""
    prefixes = [key.removesuffix("manifest.json") for key in world.keys("models/") if key.endswith("/manifest.json")]
    return [
        prefix + file.path
        for prefix in prefixes
        for file in msgspec.json.decode(world.store.objects[prefix + "manifest.json"], type=Manifest).files
        if file.digest != "sha256:" + layout.sha256_hex(world.store.objects.get(prefix + file.path, b""))
    ]


def _upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have model cards written in other words from now on, as another version of this code would."""
    monkeypatch.setattr(model_cards, "_why", lambda _: "for reasons that were put otherwise before")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_upgrade_between_two_deliveries_leaves_every_file_as_its_manifest_names_it(
    monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    world, faults = faulty_world()
    status = await _trained(world)
    already = len(faults.calls)
    await _export(world, status)
    for at in range(len(faults.calls) - already):
        world, faults = faulty_world()
        status = await _trained(world)
        with contextlib.suppress(Crash):
            faults.crash_at, faults.after = len(faults.calls) + at, after
            await _export(world, status)
        faults.crash_at = None
        with monkeypatch.context() as patched:
            _upgrade(patched)
            (model,) = _models(await _export(world, status))
        assert _disagreements(world) == []
        assert model.size_bytes == sum(file.size for file in _manifest(world, model).files)


# --- asked for once more ---------------------------------------------------------------------------------------


async def _completed(world: World, *steps: int) -> list[Event[Any]]:
    said = await _export(world, await _trained(world, *steps))
    assert (await world.state("t-1")).phase is Phase.COMPLETED
    return said


async def _again(world: World, command_id: str = "again") -> list[Event[Any]]:
    return list((await world.deliver("task-command", command_event("export", command_id=command_id))).events)


async def test_an_export_asked_for_again_says_the_same_models_and_copies_nothing() -> None:
    world = World()
    first = await _completed(world, 10, 20)
    stored = {key: body for key, body in world.store.objects.items() if not key.startswith("receipts/task-command/")}
    puts = len(world.store.puts)
    for command_id in ("again", "again", "and-again"):
        said = await _again(world, command_id)
        assert (ids(said), bodies(said)) == (ids(first), bodies(first))
    assert [key for key in world.store.puts[puts:] if "receipts/" not in key] == []
    assert stored.items() <= world.store.objects.items()


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "README.md", "manifest.json"])
async def test_what_is_missing_of_a_model_is_copied_again_and_nothing_else(lost: str) -> None:
    world = World()
    first = await _completed(world, 10, 20)
    whole = {key: world.store.objects[key] for key in world.keys("models/")}
    gone = layout.model(_models(first)[0].model_id) + lost
    del world.store.objects[gone]
    puts = len(world.store.puts)
    said = await _again(world)
    assert {key: world.store.objects[key] for key in world.keys("models/")} == whole
    assert ids(said) == ids(first)
    weights = [key for key in world.store.puts[puts:] if key.endswith(".safetensors")]
    assert weights == ([gone] if lost.endswith(".safetensors") else [])


async def test_a_file_that_was_cut_is_missing_too() -> None:
    world = World()
    first = await _completed(world)
    cut = layout.model(_models(first)[0].model_id) + "adapter_model.safetensors"
    world.store.objects[cut] = b"wei"
    await _again(world)
    assert world.store.objects[cut] == b"weights"


async def test_after_an_upgrade_all_is_put_back_but_what_the_manifest_does_not_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    first = await _completed(world)
    prefix = layout.model(_models(first)[0].model_id)
    lost = [prefix + name for name in ("README.md", "adapter_model.safetensors")]
    whole = {key: world.store.objects[key] for key in world.keys("models/")}
    _upgrade(monkeypatch)
    for key in lost:
        del world.store.objects[key]
    answer, now = statuses(await _again(world))
    assert (answer.phase, answer.reason, now.reason) == (Phase.COMPLETED, "export-impossible", "completed")
    assert "README.md is gone or was cut" in answer.message
    assert "safetensors" not in answer.message
    del whole[lost[0]]
    assert {key: world.store.objects[key] for key in world.keys("models/")} == whole


async def test_once_deleted_a_whole_model_is_said_again_and_a_broken_one_is_beyond_help() -> None:
    world = World()
    first = await _completed(world)
    await world.run(command_event("delete"))
    said = await _again(world)
    assert ids(said)[:-1] == ids(first)[:-1]
    del world.store.objects[layout.model(_models(first)[0].model_id) + "adapter_model.safetensors"]
    answer, now = statuses(await _again(world, "once-more"))
    assert (answer.phase, answer.reason) == (Phase.COMPLETED, "export-impossible")
    assert "adapter_model.safetensors" in answer.message
    assert now.reason == "deleted"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.COMPLETED])
async def test_only_a_completed_task_has_models_to_export(phase: Phase) -> None:
    world = World()
    state = TaskState(task_id="t-1", phase=phase, attempt=1, reason="as-it-was")
    await task_state.change(world.store, world.clock, "t-1", lambda _: state)
    answer, now = statuses(await _again(world))
    assert (answer.reason, answer.party, now.reason) == ("export-not-allowed", "user", "as-it-was")
    assert phase.value in answer.message


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_the_redelivered_command_completes_the_models(*, after: bool) -> None:
    async def begin() -> tuple[World, Faults]:
        world, faults = faulty_world()
        for model in _models(await _completed(world, 10, 20)):
            del world.store.objects[layout.model(model.model_id) + "adapter_model.safetensors"]
        return world, faults

    world, faults = await begin()
    already = len(faults.calls)
    baseline = await _again(world)
    complete = {key: world.store.objects[key] for key in world.keys("models/")}
    for at in range(len(faults.calls) - already):
        world, faults = await begin()
        said = await survives(faults, at, after=after, deliver=partial(_again, world))
        assert ids(said) == ids(baseline)
        assert {key: world.store.objects[key] for key in world.keys("models/")} == complete


# --- what is not exported ------------------------------------------------------------------------------------


def _file(path: str) -> dict[str, Any]:
    return {"path": path, "size_bytes": 7, "sha256": "cd" * 32}


FOREIGN: dict[str, dict[str, Any]] = {
    "another task": {"uri": "memory://bucket/tasks/t-2/attempts/1/outputs/step-10"},
    "another attempt": {"uri": "memory://bucket/tasks/t-1/attempts/2/outputs/step-10"},
    "a longer attempt": {"uri": "memory://bucket/tasks/t-1/attempts/10/outputs/step-10"},
    "the repository": {"uri": "memory://bucket/models/somebody-else"},
    "another bucket": {"uri": "s3://somebody-else/tasks/t-1/attempts/1/outputs"},
    "out of the prefix": {"uri": "memory://bucket/tasks/t-1/attempts/1/../../t-2/attempts/1"},
    "a pickle": {"files": [_file("adapter_config.json"), _file("training_args.bin")]},
    "a pickle in capitals": {"files": [_file("checkpoint/MODEL.PT")]},
    "a path upwards": {"files": [_file("../../state.json")]},
    "an absolute path": {"files": [_file("/etc/passwd")]},
    "an empty path": {"files": [_file("")]},
    "a manifest": {"files": [_file("manifest.json")]},
    "a file that is not there": {"files": [_file("model-00002-of-00002.safetensors")]},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN)
async def test_what_may_not_be_exported_fails_the_task_and_leaves_no_model(changes: dict[str, Any]) -> None:
    world = World()
    said = await _export(world, await _trained(world, 10, **changes))
    (status,) = statuses(said)
    assert (status.phase, status.reason, status.party) == (Phase.FAILED, "export-refused", "platform")
    assert status.message
    assert _models(said) == []
    assert not [key for key in world.keys("models/") if key.endswith("manifest.json")]


async def test_one_output_that_may_not_be_exported_holds_up_all_before_any_is_copied() -> None:
    world = World()
    await world.dispatched()
    outputs = [await world.leave_output(step=10), await world.leave_output(step=20) | FOREIGN["a pickle"]]
    (status,) = (await world.progress("succeeded", 5, outputs=outputs)).events
    await _export(world, received(status))
    assert world.keys("models/") == []


async def test_a_model_card_of_the_trainer_s_gives_way_to_ours() -> None:
    world = World()
    status = await _trained(world)
    key = layout.attempt("t-1", 1) + "outputs/step-10/README.md"
    world.store.objects[key] = b"base_model: /root/somewhere"
    state = await world.state("t-1")
    output = msgspec.structs.replace(state.outputs[0], files=(*state.outputs[0].files, _digest("README.md")))
    body = msgspec.structs.replace(state, outputs=(output,))
    world.store.objects[layout.task("t-1", "state")] = msgspec.json.encode(body)
    (model,) = _models(await _export(world, status))
    card = world.store.objects[layout.model(model.model_id) + "README.md"].decode()
    assert "/root" not in card
    assert [file.path for file in _manifest(world, model).files].count("README.md") == 1


@pytest.mark.parametrize(
    ("format", "kind", "library", "task"),
    [
        ("sft", "adapter", "peft", "text-generation"),
        ("pretrain", "full", "transformers", "text-generation"),
        ("preference", "full", "transformers", "text-generation"),
        ("ranking", "full", "sentence-transformers", "sentence-similarity"),
    ],
)
async def test_a_model_card_names_what_loads_the_model(format: Any, kind: Any, library: str, task: str) -> None:
    world = World()
    await world.dispatched()
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    output = Output(step=1, uri="u", kind=kind, files=())
    plan = msgspec.structs.replace(plan, format=format, base_model='a "base": of #1')

    card = ModelCard(model_card("m", plan, output, kept_because(output, [output])))

    said: dict[str, Any] = vars(card.data)
    assert (said["library_name"], said["pipeline_tag"], said["base_model"]) == (library, task, 'a "base": of #1')
    assert said["tags"] == ["fine-tuned", "FinetuneLoRA"]
    assert card.text.strip().startswith("# m")
    (code,) = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    imported = [node.module for node in ast.parse(code).body if isinstance(node, ast.ImportFrom)]
    assert imported[0] == library.replace("-", "_")
    assert "the last checkpoint, the only one kept" in card.text


async def test_a_gguf_file_is_exported_and_described_as_weights() -> None:
    world = World()
    await world.dispatched()
    output = await world.leave_output()
    await world.store.put(layout.attempt("t-1", 1) + "outputs/step-10/model.gguf", b"GGUF")
    file = {"path": "model.gguf", "size_bytes": 4, "sha256": layout.sha256_hex(b"GGUF")}
    said = {"status": "made", "type": "f16", "path": "model.gguf"}
    output |= {"files": [*output["files"], file], "gguf": said}
    (status,) = (await world.progress("succeeded", 5, outputs=[output])).events
    (model,) = _models(await _export(world, received(status)))
    manifest = _manifest(world, model)
    assert manifest.gguf == Gguf(status="made", type="f16", path="model.gguf")
    (described,) = [each for each in manifest.files if each.path == "model.gguf"]
    assert described.media_type == "application/vnd.cncf.model.weight.v1.raw"
    prefix = layout.model(model.model_id)
    assert world.store.objects[prefix + "model.gguf"] == b"GGUF"
    assert "`llama-cli -m model.gguf`" in world.store.objects[prefix + "README.md"].decode()


async def test_why_there_is_no_gguf_file_is_in_manifest_and_card_as_words() -> None:
    world = World()
    message = "the converter ended with 1: `x`\n# not a heading"
    gguf = {"status": "not-made", "type": "f16", "reason": "converter-failed", "message": message}
    (model,) = _models(await _export(world, await _trained(world, gguf=gguf)))
    assert msgspec.to_builtins(_manifest(world, model).gguf) == gguf
    card = world.store.objects[layout.model(model.model_id) + "README.md"].decode()
    assert "There is no GGUF file (`converter-failed`): `the converter ended with 1: 'x' # not a heading`." in card


async def test_a_model_that_nobody_asked_a_gguf_file_of_says_nothing_of_it() -> None:
    world = World()
    (model,) = _models(await _export(world, await _trained(world)))
    assert _manifest(world, model).gguf is None
    assert "GGUF" not in world.store.objects[layout.model(model.model_id) + "README.md"].decode()


def _digest(path: str) -> FileDigest:
    return FileDigest(path, 1, "ef" * 32)


@pytest.mark.parametrize("task_id", ["..", "x" * 128, ".hidden", "a.b"])
async def test_a_model_s_name_is_an_id_whatever_its_task_is_called(task_id: str) -> None:
    names = {model_id(task_id, attempt, step) for attempt in (1, 2) for step in (1, 2)}
    assert len(names) == 4
    assert all(len(name) <= 128 and "/" not in name for name in names)
    assert model_id(task_id + "y", 1, 1) not in names
