"""The whole flow through a real broker, with an executor that runs nothing: the test speaks for the trainer."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.codec import encode_body
from handlers import layout
from handlers.ports.jobs import JobSpec
from tests.integration.conftest import World
from tests.platform import as_json, form, sample
from tests.wait import wait_until


def _submitted(world: World, attempt: int) -> list[JobSpec]:
    """Return what was submitted of an attempt, more than once where a stage and the reconciler both found it due."""
    return [spec for spec in world.executor.submits if spec.attempt == attempt]


async def _speak(world: World, task_id: str, attempt: int, *states: dict[str, Any]) -> None:
    """Say a trainer's progress events, numbered from 0."""
    for seq, state in enumerate(states):
        await world.platform.publish(
            "training.progress", task_id, {"task_id": task_id, "attempt": attempt, "seq": seq, **state}
        )


async def _finish(world: World, task_id: str, attempt: int = 1) -> None:
    """Leave an output where the attempt may write, and report success."""
    prefix = layout.attempt(task_id, attempt) + "outputs/step-5/"
    weights = b"weights"
    await world.store.put(prefix + "model.safetensors", weights)
    output = {
        "step": 5,
        "uri": world.store.uri(prefix),
        "kind": "adapter",
        "files": [{"path": "model.safetensors", "size_bytes": len(weights), "sha256": layout.sha256_hex(weights)}],
    }
    progress = {"step": 5, "total_steps": 5, "loss": 0.5}
    await _speak(
        world,
        task_id,
        attempt,
        {"state": "deploying"},
        {"state": "running", "progress": progress},
        {"state": "succeeded", "outputs": [output]},
    )


async def test_a_task_goes_from_import_to_exported_model(world: World) -> None:
    async with world.worker():
        await world.import_dataset("d1", draft=form("t1", "d1"))
        estimate = await world.platform.wait_for("cost.estimated", "t1")
        assert estimate.data.quote.complete
        # 30 tokens a pass, priced per 1,000.
        assert estimate.data.quote.billed_tokens % 30 == 0
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await world.platform.wait_for("training.dispatched", "t1")
        await _finish(world, "t1")
        exported = await world.platform.wait_for("model.exported", "t1")
        await world.platform.wait_for_phase("t1", "Completed")
    # Dispatch and the reconciler may both hand it over: one job.
    assert world.executor.started == [("t1", 1)]
    phases = world.platform.phases("t1")
    assert phases[-2:] == ["Completing", "Completed"]
    assert exported.correlation_id == "t1"
    manifest = await world.store.get(layout.model(exported.data.model_id) + "manifest.json")
    assert manifest is not None
    assert {file["path"] for file in as_json(manifest.body)["files"]} == {"model.safetensors", "README.md"}


async def test_everything_published_twice_trains_once(world: World) -> None:
    async with world.worker():
        uri = await world.upload("d1")
        for _ in range(2):
            # The form may come first: either order must do.
            await world.platform.publish("task.created", "t1", form("t1", "d1"))
            await world.platform.publish("dataset.imported", "d1", {"dataset_id": "d1", "files": [{"uri": uri}]})
        await world.platform.wait_for("training.dispatched", "t1")
        await world.platform.wait_for("dataset.validated", "d1", count=2)
        for _ in range(2):
            await _finish(world, "t1")
        await world.platform.wait_for_phase("t1", "Completed")
        # What is published after all of it again changes nothing and says the same.
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await world.platform.wait_for(
            "training.dispatched", "t1", count=len(world.platform.said("training.dispatched")) + 1
        )
    assert len({(spec.job_id, spec.attempt) for spec in world.executor.submits}) == 1
    assert len(world.platform.ids("dataset.validated", "d1")) == 1
    assert len(world.platform.ids("training.dispatched", "t1")) == 1
    assert len(world.platform.ids("model.exported", "t1")) == 1
    assert world.platform.letters == []


async def test_poison_is_dead_lettered_as_it_came_and_the_next_event_is_processed(world: World) -> None:
    poison: list[tuple[bytes | None, list[tuple[str, bytes | None]], str]] = [
        (b"not json", [], "invalid-json"),
        (b'{"dataset_id": "\xff"}', [], "invalid-utf8"),
        (b'{"dataset_id": "d1", "files": []}', [], "breaks-contract"),
        (encode_body({"dataset_id": "d1"}), [("ce_type", b"nobody.knows")], "unknown-type"),
        (encode_body({"dataset_id": "d1"}), [("trace", None)], "bad-header"),
        (encode_body({"dataset_id": "d1"}), [("ce_id", b"\xff\xfe")], "bad-header"),
        (None, [], "empty-body"),
    ]
    async with world.worker():
        for body, headers, _ in poison:
            await world.platform.send("dataset.imported", b"d1", body, headers)
        await world.import_dataset("d1")
        await world.platform.wait_for("dataset.validated", "d1")
        await wait_until(lambda: len(world.platform.letters) == len(poison), 60, "all dead letters")
    letters = sorted(world.platform.letters, key=lambda record: int(dict(record.headers)["dl_offset"]))
    assert [letter.value for letter in letters] == [body for body, _, _ in poison]
    assert [dict(letter.headers)["dl_reason"].decode() for letter in letters] == [reason for *_, reason in poison]
    assert all(letter.key == b"d1" and letter.topic == "dataset.imported.dead-letter" for letter in letters)
    assert len({dict(letter.headers)["dl_id"] for letter in letters}) == len(poison)


async def test_a_bad_dataset_is_rejected_and_nothing_is_dispatched(world: World) -> None:
    async with world.worker():
        await world.import_dataset("bad", sample() + b'{"messages": []}\n')
        missing = {"dataset_id": "gone", "files": [{"uri": world.store.uri("uploads/gone.jsonl")}]}
        await world.platform.publish("dataset.imported", "gone", missing)
        foreign = {"dataset_id": "foreign", "files": [{"uri": "file:///etc/passwd"}]}
        await world.platform.publish("dataset.imported", "foreign", foreign)
        await world.platform.publish("task.created", "t1", form("t1", "bad", "gone", "foreign"))
        status = await world.platform.wait_for_phase("t1", "Failed")
    assert (status.reason, status.party) == ("dataset-rejected", "user")
    assert all(name in status.message for name in ("bad", "gone", "foreign"))
    assert world.executor.submits == []
    rejected = {event.key: event.data for event in world.platform.said("dataset.rejected")}
    assert rejected["bad"].totals["empty-messages"] == 1
    assert "no such file" in rejected["gone"].message
    assert "not in this platform's bucket" in rejected["foreign"].message


async def test_a_form_with_five_faults_is_refused_once_with_all_five(world: World) -> None:
    faulty = form("t1", "d1", name="no spaces allowed", output_count=11, training_type="FinetuneSFT")
    faulty["tolerance"] = {"max_invalid_ratio": 0.1, "max_invalid_records": 3}
    faulty["validation"] = {"percent": 60}
    async with world.worker():
        await world.platform.publish("task.created", "t1", faulty)
        status = await world.platform.wait_for_phase("t1", "Failed")
    assert (status.reason, status.party) == ("invalid-form", "user")
    fields = {fault.field.split(".")[0] for fault in status.faults}
    assert fields == {"name", "output_count", "training_type", "tolerance", "validation"}
    assert len(world.platform.ids("task.status", "t1")) == 1


async def test_the_first_form_of_a_task_wins(world: World) -> None:
    async with world.worker():
        await world.import_dataset("d1")
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await world.platform.wait_for("training.dispatched", "t1")
        await world.platform.publish("task.created", "t1", form("t1", "d1", name="another"))
        await wait_until(lambda: _conflicts(world, "t1") == 1, 60, "the conflict")
    assert len({(spec.job_id, spec.attempt) for spec in world.executor.submits}) == 1


def _conflicts(world: World, task_id: str) -> int:
    return sum(event.data.reason == "conflict" for event in world.platform.said("task.status", task_id))


async def test_the_estimate_is_never_early_and_survives_a_restart(world: World) -> None:
    # The first worker would wait an hour, so that a slow machine cannot make the fee due before it is stopped.
    patient = world._replace(settings=msgspec.structs.replace(world.settings, estimate_delay_seconds=3600.0))
    async with patient.worker() as stop:
        imported_at = datetime.now(UTC)
        await world.import_dataset("d1", draft=form("t1", "d1"), imported_at=imported_at.isoformat())
        await world.platform.wait_for("dataset.validated", "d1")
        await stop()
    assert world.platform.said("cost.estimated") == []
    async with world.worker():
        estimate = await world.platform.wait_for("cost.estimated", "t1")
    assert (estimate.time - imported_at).total_seconds() >= world.settings.estimate_delay_seconds


async def test_a_lost_job_is_tried_again_from_its_checkpoint(world: World) -> None:
    async with world.worker():
        await world.import_dataset("d1")
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await wait_until(lambda: len(world.executor.submits) >= 1, 60, "the first attempt")
        checkpoint = {"step": 3, "uri": world.store.uri(layout.attempt("t1", 1) + "checkpoints/step-3/")}
        await _speak(world, "t1", 1, {"state": "running"}, {"state": "running", "checkpoint": checkpoint})
        await world.platform.wait_for_phase("t1", "Running")
        world.executor.end("t1", 1, exit_code=-9)
        await wait_until(lambda: _submitted(world, 2), 60, "the second attempt")
        # What the dead attempt still had to say counts no more.
        late = {"task_id": "t1", "attempt": 1, "seq": 9, "state": "succeeded", "outputs": []}
        await world.platform.publish("training.progress", "t1", late)
        await _finish(world, "t1", attempt=2)
        await world.platform.wait_for_phase("t1", "Completed")
    assert {spec.resume_from for spec in _submitted(world, 2)} == {layout.attempt("t1", 1) + "checkpoints/step-3/"}
    exported = {event.data.attempt for event in world.platform.said("model.exported")}
    assert exported == {2}
    status = world.platform.said("task.status", "t1")[-1].data
    assert (status.retry_count, status.attempt) == (1, 2)


async def test_a_stop_ends_the_job_and_a_late_success_is_not_exported(world: World) -> None:
    async with world.worker():
        await world.import_dataset("d1")
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await wait_until(lambda: len(world.executor.submits) >= 1, 60, "the job")
        await _speak(world, "t1", 1, {"state": "running"})
        await world.platform.wait_for_phase("t1", "Running")
        stop = {"command_id": "c1", "task_id": "t1", "command": "stop"}
        await world.platform.publish("task.command", "t1", stop)
        await world.platform.wait_for_phase("t1", "Terminating")
        await _finish(world, "t1")
        await world.platform.wait_for_phase("t1", "Terminated")
    assert world.executor.cancels[0][:2] == ("t1", 1)
    assert world.platform.said("model.exported") == []


async def test_two_workers_share_the_work_and_one_takes_over_from_the_other(world: World) -> None:
    async with world.worker() as stop, world.worker():
        for n in range(20):
            await world.import_dataset(f"d{n}")
        await asyncio.gather(*(world.platform.wait_for("dataset.validated", f"d{n}") for n in range(20)))
        await stop()
        for n in range(20, 30):
            await world.import_dataset(f"d{n}")
        await asyncio.gather(*(world.platform.wait_for("dataset.validated", f"d{n}") for n in range(20, 30)))
    assert all(len(world.platform.ids("dataset.validated", f"d{n}")) == 1 for n in range(30))
