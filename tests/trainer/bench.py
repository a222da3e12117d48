"""A bench for trainer jobs: a bucket, a plan, a task's state, and a sink that keeps what is said."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from safetensors.torch import load_file

from contracts.dataset import CheckedFile
from contracts.envelope import Event
from contracts.training import TrainingProgress
from handlers import layout
from handlers.planning.plan import Plan, PlannedDataset
from handlers.ports.jobs import JobSpec
from handlers.ports.store import ObjectStore
from tests.fakes.few_samples import SAMPLES
from worker.settings import Settings
from worker.storage.directory import DirectoryStore
from worker.tokens.encoder import SampleEncoder
from worker.trainer.dataset import Datasets, build_datasets, open_datasets
from worker.trainer.hyperparameters import hyperparameters_of
from worker.trainer.job import Ending, run_job
from worker.trainer.ranks import Rank
from worker.trainer.recipes import recipe_of
from worker.trainer.token_file import Row, Samples

TASK = "task-1"
HYPERPARAMETERS = {"epochs": 2, "batch_size": 2, "learning_rate": 0.003, "checkpoint_steps": 100}
Said = Callable[[TrainingProgress], None]


class RecordingSink:
    """Keeps every event. ``on_event`` is called with each body, in the training thread, between two steps."""

    def __init__(self, on_event: Said | None = None) -> None:
        self.events: list[Event[TrainingProgress]] = []
        self.essential: list[bool] = []
        self.dropped = False
        self._on_event = on_event

    def put(self, event: Event[TrainingProgress], *, essential: bool) -> None:
        self.events.append(event)
        self.essential.append(essential)
        if self._on_event:
            self._on_event(event.data)

    def drop(self) -> None:
        self.dropped = True

    def close(self, timeout_seconds: float) -> bool:
        return timeout_seconds > 0

    @property
    def said(self) -> list[TrainingProgress]:
        return [event.data for event in self.events]

    @property
    def last(self) -> TrainingProgress:
        return self.events[-1].data


class Bench:
    """One task in one bucket."""

    def __init__(self, root: Path, heartbeat_seconds: float = 0.05) -> None:
        self.root = root
        self.store = DirectoryStore(root)
        self.settings = Settings(storage_url=root.as_uri(), heartbeat_seconds=heartbeat_seconds)

    def put(self, key: str, content: Any) -> str:
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return asyncio.run(self.store.put(key, body))

    def dataset(self, name: str = "a", samples: Sequence[dict[str, Any]] = SAMPLES, **fields: Any) -> PlannedDataset:
        body = b"".join(json.dumps(sample, ensure_ascii=False).encode() + b"\n" for sample in samples)
        key = f"uploads/{name}.jsonl"
        etag = self.put(key, body)
        file = CheckedFile(uri=self.store.uri(key), etag=etag, size_bytes=len(body), sha256=layout.sha256_hex(body))
        return PlannedDataset(dataset_id=name, digest="0", files=(file,), samples=len(samples), **fields)

    def plan(self, method: Literal["full", "LoRA"] = "full", **fields: Any) -> Plan:
        chosen = HYPERPARAMETERS | fields.pop("hyperparameters", {})
        if "training" not in fields:
            fields["training"] = (self.dataset(),)
        defaults: dict[str, Any] = {
            "task_id": TASK,
            "training_type": "FinetuneLoRA" if method == "LoRA" else "FinetuneSft",
            "format": "sft",
            "base_model": "tiny",
            "base_version": "1",
            "base_prefix": "base-models/tiny/1/",
            "context_length": 512,
            "seed": 7,
        }
        plan = Plan(method=method, hyperparameters=chosen, **(defaults | fields))
        self.put(layout.task(TASK, "plan"), plan)
        return plan

    def state(self, attempt: int = 1, desired: str = "run") -> None:
        self.put(layout.task(TASK, "state"), {"attempt": attempt, "desired": desired, "phase": "Running"})

    def spec(self, attempt: int = 1, **fields: Any) -> JobSpec:
        return JobSpec(
            job_id=TASK,
            task_id=TASK,
            attempt=attempt,
            plan_key=layout.task(TASK, "plan"),
            attempt_prefix=layout.attempt(TASK, attempt),
            **fields,
        )

    def run(
        self, spec: JobSpec | None = None, on_event: Said | None = None, stop: threading.Event | None = None
    ) -> tuple[Ending, RecordingSink]:
        sink = RecordingSink(on_event)
        spec = spec or self.spec()
        # Each run is the first process of its attempt, also where tests use a number twice. Of several that run
        # together only the first says so: another one must not take that away again.
        if Rank.of_environment().first:
            (self.root / layout.runner(spec.task_id, spec.attempt)).unlink(missing_ok=True)
        ending = run_job(spec, self.settings, sink, stop or threading.Event())
        return ending, sink

    def copy(self, spec: JobSpec | None = None) -> tuple[Ending, RecordingSink]:
        """Run a second process of an attempt, as an engine may start one."""
        sink = RecordingSink()
        return run_job(spec or self.spec(), self.settings, sink, threading.Event()), sink

    def run_until(self, step: int, spec: JobSpec | None = None) -> tuple[Ending, RecordingSink]:
        """Run, and say stop when this step is reported: it ends with the next one."""
        stop = threading.Event()

        def at(said: TrainingProgress) -> None:
            if said.progress and said.progress.step >= step:
                stop.set()

        return self.run(spec, at, stop)

    def path(self, uri: str) -> Path:
        return self.root / self.store.key(uri)

    def objects(self) -> list[Path]:
        """Return every object of the bucket, as a file."""

        async def listed() -> list[Path]:
            return [self.root / info.key async for info in self.store.list("")]

        return asyncio.run(listed())

    def tensors(self, uri: str) -> dict[str, torch.Tensor]:
        """Return the weights under a prefix."""
        (file,) = self.path(uri).glob("*model.safetensors")
        return load_file(file)


async def built(store: ObjectStore, plan: Plan, encoder: SampleEncoder, folder: Path) -> Datasets:
    """Return what a trainer makes of a plan's datasets."""
    recipe = recipe_of(plan, hyperparameters_of(plan))
    await build_datasets(store, plan, encoder, recipe, folder, lambda: None)
    return open_datasets(folder)


def trained_on(data: Datasets) -> list[Row]:
    """Return the samples that are trained on, in their order."""
    return list(Samples(data.reader, data.training))


def losses(sink: RecordingSink) -> list[tuple[int, float | None]]:
    """Return (step, loss) of every step that was reported."""
    return [(said.progress.step, said.progress.loss) for said in sink.said if said.progress and not said.checkpoint]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Return whether two sets of weights are equal to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
