"""How a job ended is in the bucket before its process ends well, whatever became of its events."""

import asyncio
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import event_file
from contracts.task import Progress
from contracts.training import Checkpoint, TrainingProgress
from handlers import layout
from handlers.errors import Unavailable
from handlers.planning.plan import Plan
from handlers.ports.jobs import JobSpec
from tests.fakes.sink import KeptEvents
from worker.settings import Settings
from worker.storage.directory import DirectoryStore
from worker.trainer import bucket as trainer_bucket
from worker.trainer.bucket import Bucket
from worker.trainer.converter import Converter
from worker.trainer.fence import Fence, Interrupted
from worker.trainer.job import Ending, run_job
from worker.trainer.progress import Reporter

SPEC = JobSpec(
    job_id="t-1", task_id="t-1", attempt=1, plan_key=layout.task("t-1", "plan"), attempt_prefix=layout.attempt("t-1", 1)
)
PLAN = Plan(
    task_id="t-1",
    training_type="FinetuneSft",
    method="full",
    format="sft",
    base_model="tiny",
    base_version="1",
    base_prefix="base-models/tiny/1/",
    context_length=8,
    hyperparameters={},
    training=(),
    seed=1,
)
CHECKPOINT = Checkpoint(step=3, uri="file:///c/3")

Train = Callable[[Bucket, Reporter], None]


class Job:
    """A job whose training is what a test says, with its bucket."""

    def __init__(self, root: Path) -> None:
        self.store = DirectoryStore(root)
        self.settings = Settings(storage_url=root.as_uri(), heartbeat_seconds=0.05)
        self.sink = KeptEvents()
        self.put(layout.task("t-1", "plan"), PLAN)
        self.put(layout.task("t-1", "state"), {"attempt": 1})

    def put(self, key: str, content: Any) -> None:
        asyncio.run(self.store.put(key, msgspec.json.encode(content)))

    def run(self, train: Train) -> Ending:
        def trained(
            _s: JobSpec, _p: Plan, bucket: Bucket, _f: Fence, reporter: Reporter, _folder: Path, _c: Converter
        ) -> None:
            train(bucket, reporter)

        module = types.ModuleType("worker.trainer.run")
        module.train = trained  # type: ignore[attr-defined]  # in place of the module that imports torch
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "worker.trainer.run", module)
            return run_job(SPEC, self.settings, self.sink, threading.Event())

    def last_word(self) -> TrainingProgress | None:
        """Return what is kept, which must be the event that was said last."""
        stored = asyncio.run(self.store.get(layout.last_word("t-1", 1)))
        if stored is None:
            return None
        (event,) = event_file.read(stored.body)
        assert event.id == self.sink.events[-1].id
        assert isinstance(event.data, TrainingProgress)
        return event.data


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "bucket")


def succeed(_: Bucket, reporter: Reporter) -> None:
    reporter.saved(Progress(step=3, total_steps=3), CHECKPOINT)
    reporter.succeeded(Progress(step=3, total_steps=3), ())


def stop(_: Bucket, reporter: Reporter) -> None:
    reporter.saved(Progress(step=3, total_steps=9), CHECKPOINT)
    raise Interrupted(CHECKPOINT)


def fail(_: Bucket, reporter: Reporter) -> None:
    reporter.saved(Progress(step=3, total_steps=9), CHECKPOINT)
    raise RuntimeError("it broke")


@pytest.mark.parametrize(
    ("train", "ending", "state"),
    [(succeed, Ending.DONE, "succeeded"), (stop, Ending.DONE, "stopped"), (fail, Ending.FAILED, "failed")],
)
def test_it_is_kept_and_where_it_could_go_on_with_it(job: Job, train: Train, ending: Ending, state: str) -> None:
    assert job.run(train) is ending
    said = job.last_word()
    assert said is not None
    assert (said.state, said.seq) == (state, len(job.sink.events) - 1)
    assert said.checkpoint == (None if state == "succeeded" else CHECKPOINT)


def test_a_job_whose_last_word_cannot_be_kept_does_not_end_well(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def go_silent(bucket: Bucket, reporter: Reporter) -> None:
        async def put(*_: Any, **__: Any) -> str:
            raise Unavailable("the bucket is gone")

        monkeypatch.setattr(trainer_bucket, "_PAUSES", (0.0,))
        monkeypatch.setattr(bucket.store, "put", put)
        succeed(bucket, reporter)

    assert job.run(go_silent) is Ending.FAILED
    assert job.sink.events[-1].data.state == "succeeded", "said all the same: Kafka may have it"
    assert job.last_word() is None


def test_who_is_superseded_leaves_no_word(job: Job) -> None:
    job.put(layout.task("t-1", "state"), {"attempt": 2})
    assert job.run(succeed) is Ending.SUPERSEDED
    assert job.last_word() is None
