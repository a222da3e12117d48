"""The verdict of chaos sees what it is there to see: a round that was right, with one thing spoilt at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace as changed
from safetensors.numpy import save

from contracts.envelope import Event
from handlers import layout
from tests.e2e.chaos.evidence import Evidence
from tests.e2e.chaos.jobs import Job, jobs_of
from tests.e2e.chaos.story import Story
from tests.e2e.chaos.trainers import REAL, STAND_IN
from tests.e2e.chaos.training_verdict import training_faults
from tests.e2e.chaos.troubles import Killed
from tests.e2e.chaos.verdict import faults
from tests.fakes.events import event
from tests.fakes.world import World, form, form_event, received
from tests.platform import Platform
from worker.settings import Settings

MODEL = "adapter_model.safetensors"


def weights(number: float) -> bytes:
    """Return a file of weights."""
    return save({"layer": np.full(3, number, np.float32)})


class Round:
    """Tasks that were trained and exported, as if nothing had ever failed."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.platform = Platform("nowhere:1")
        self.settings = Settings(work_dir=folder)
        self.kind = STAND_IN
        self.story = Story([], {}, completed=[], failed=[], stopped=[])
        self.killed: list[Killed] = []
        self.poison: set[tuple[str, int, int]] = set()

    async def task(self, name: str, trained: bytes) -> None:
        """Let a task be imported, submitted, trained and exported."""
        self.story.completed.append(name)
        self.story.datasets[f"d-{name}"] = b""
        await self._say(await self.world.import_dataset(f"d-{name}", b"{}\n", draft=form(name, f"d-{name}")))
        await self._say(form_event(name, f"d-{name}"))
        output = await self._output(name, trained)
        done = {"task_id": name, "attempt": 1, "seq": 1, "state": "succeeded", "outputs": [output]}
        await self._say(event("training.progress", done))
        self.job(1, name)
        del self.world.store.objects[layout.active(name)]  # as the reconciler does

    async def _output(self, name: str, trained: bytes) -> dict[str, Any]:
        step = STAND_IN.last_step
        prefix = f"{layout.attempt(name, 1)}outputs/step-{step}/"
        await self.world.store.put(prefix + MODEL, trained)
        file = {"path": MODEL, "size_bytes": len(trained), "sha256": layout.sha256_hex(trained)}
        return {"step": step, "uri": self.world.store.uri(prefix), "kind": "adapter", "files": [file]}

    def job(self, attempt: int, name: str = "t", resume_from: str | None = None) -> Job:
        """Leave a job as the local executor does."""
        folder = self.settings.work_dir / "jobs" / f"{name}.{attempt}"
        folder.mkdir(parents=True)
        spec = changed(self.world.submitted[0], task_id=name, attempt=attempt, resume_from=resume_from)
        (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
        (folder / "exit.json").write_text('{"exit_code": -9}')
        return jobs_of(self.settings.work_dir)[-1]

    @property
    def model(self) -> str:
        """The prefix of the exported model."""
        (manifest,) = [key for key in self.world.keys("models/") if key.endswith("/manifest.json")]
        return manifest.removesuffix("manifest.json")

    async def faults(self) -> list[str]:
        evidence = Evidence(self.world.store, self.platform, self.story, self.kind, self.settings)
        return await faults(evidence, self.poison) + await training_faults(evidence, self.killed)

    async def _say(self, cause: Event[Any]) -> None:
        self.platform.events += [received(said) for said in await self.world.run(cause)]


@pytest.fixture
async def right(tmp_path: Path) -> Round:
    found = Round(tmp_path)
    await found.task("t", weights(1))
    return found


async def test_a_right_round_has_no_faults(right: Round) -> None:
    assert right.model.startswith("models/t-")
    assert await right.faults() == []


def _say_again_under_another_id(right: Round) -> None:
    (said,) = right.platform.said("model.exported")
    right.platform.events.append(changed(said, id="another"))


def _never_said(topic: str) -> Callable[[Round], None]:
    def spoil(right: Round) -> None:
        right.platform.events = [said for said in right.platform.events if said.topic != topic]

    return spoil


def _put(key: str, body: bytes = b"") -> Callable[[Round], None]:
    return lambda right: right.world.store.objects.update({key.format(model=right.model): body})


def _lose(part: str) -> Callable[[Round], None]:
    def spoil(right: Round) -> None:
        for key in right.world.keys(""):
            if part in key:
                del right.world.store.objects[key]

    return spoil


def _wants_more_steps(right: Round) -> None:
    right.kind = STAND_IN._replace(last_step=STAND_IN.last_step + 1)


def _lose_the_killed_one_s_steps(right: Round) -> None:
    right.killed = [Killed(right.job(2), step=4)]
    right.job(3, resume_from="tasks/t/attempts/1/checkpoints/step-3")


def _poison_without_a_letter(right: Round) -> None:
    right.poison = {("task.created", 0, 7)}


def _litter(right: Round) -> None:
    (right.settings.work_dir / "jobs" / "t.1" / "scratch").mkdir()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_say_again_under_another_id, "has 2 ids"),
        (_never_said("model.exported"), "models set() of attempts set()"),
        (_never_said("cost.estimated"), "an estimate was never said"),
        (_never_said("dataset.validated"), "[] was said of it"),
        (_never_said("training.dispatched"), "attempts {1} were submitted and not said to be"),
        (_never_said("task.status"), "last said []"),
        (_put("waiting/d-t/t"), "waiting/d-t/t is left over"),
        (_put("active/t"), "active/t is left over"),
        (_put("outbox/t/1/0000000001-0000000002.json"), "0000000002.json is left over"),
        (_put("receipts/model-export/-/t/2/9.json"), "2 receipts of model-export for t, not 1"),
        (_put("receipts/task-command/-/t/stop.json"), "1 receipts of task-command for t, not 0"),
        (_lose("receipts/training-dispatch/"), "training-dispatch for t, not 1"),
        (_put("{model}" + MODEL, b"WEIGHTS"), f"{MODEL} is not what the manifest says"),
        (_lose(f"models/t-step{STAND_IN.last_step}-"), "has no manifest"),
        (_put("{model}training_args.bin"), "training_args.bin is not in the manifest"),
        (_wants_more_steps, "the last is"),
        (lambda right: right.job(2), "t is at attempt 1 and had jobs for [1, 2]"),
        (_lose_the_killed_one_s_steps, "attempt 3 began at step 3, not 4"),
        (_poison_without_a_letter, "is in no dead-letter topic"),
        (_litter, "left its temporary files"),
    ],
)
async def test_what_is_spoilt_is_found(right: Round, spoil: Callable[[Round], None], fault: str) -> None:
    spoil(right)
    assert [found for found in await right.faults() if fault in found] != []


@pytest.mark.parametrize(("other", "found"), [(1, 0), (2, 1)])
async def test_tasks_that_train_the_same_must_end_with_the_same_weights(right: Round, other: float, found: int) -> None:
    right.kind = STAND_IN._replace(same_weights=True)
    await right.task("u", weights(other))
    assert len([fault for fault in await right.faults() if "ended with different weights" in fault]) == found


@pytest.mark.parametrize(("began_at", "shown"), [(0, False), (3, True)])
async def test_a_round_of_the_real_trainer_must_show_a_resume_in_its_log(
    right: Round, began_at: int, shown: bool
) -> None:
    right.kind = REAL._replace(last_step=STAND_IN.last_step)
    job = right.job(2, resume_from="tasks/t/attempts/1/checkpoints/step-3/")
    (job.folder / "log").write_text(f'{{"event": "training.started", "step": {began_at}}}\n')
    assert ("no attempt went on" not in str(await right.faults())) is shown
