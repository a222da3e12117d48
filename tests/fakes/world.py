"""Everything handlers stand on, in memory, and the service as its table has it: what is said is delivered, in order."""

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from contracts.codec import decode, encode, encode_body
from contracts.dataset import CheckedFile, DatasetFile
from contracts.datasets.findings import Finding
from contracts.envelope import Event
from contracts.hyperparameters import HyperparameterRule
from contracts.task import TaskStatus
from handlers import layout, task_state
from handlers.outcome import Outcome
from handlers.planning.plan import Plan
from handlers.ports.catalog import ModelEntry, PresetDataset, Price
from handlers.ports.jobs import JobSpec
from handlers.table import STAGES, Stage
from handlers.task_state import TaskState
from handlers.tenancy.projects import Projects
from handlers.validation.report import Report, content_digest
from tests.fakes.clock import ManualClock
from tests.fakes.events import event
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.store import MemoryStore
from tests.fakes.tokens import FakeTokenCounter, FakeTokenSampler
from worker.delivery.receipts import BucketReceipts
from worker.planning.planner import StorePlanner

RULES = {"epochs": HyperparameterRule(type="int", default=2, min=1, max=10)}
TINY = ModelEntry(
    name="tiny",
    version="1",
    prefix="base-models/tiny/1/",
    context_length=512,
    training_types={"FinetuneSft": RULES, "FinetuneLoRA": RULES},
)


@dataclass
class FakeCatalog:
    """A Catalog a test may change: ``prices`` by method, ``unpublished`` training types, preset datasets of all."""

    entries: list[ModelEntry] = field(default_factory=lambda: [TINY])
    prices: dict[str, str] = field(default_factory=lambda: {"LoRA": "0.03", "full": "0.05"})
    priced_in: str = "CNY"
    unpublished: set[str] = field(default_factory=set)
    preset_datasets: list[PresetDataset] = field(default_factory=list)

    def model(self, name: str, version: str) -> ModelEntry | None:
        return next((entry for entry in self.entries if (entry.name, entry.version) == (name, version)), None)

    def models(self) -> Sequence[ModelEntry]:
        return self.entries

    def price(self, model: ModelEntry, method: Literal["full", "LoRA"]) -> Price | None:
        assert self.model(model.name, model.version), "an exported model has its foundation's price"
        amount = self.prices.get(method)
        return Price(per_1k_tokens=amount, currency=self.priced_in, version="2026-01") if amount else None

    def currency(self) -> str:
        return self.priced_in

    def published(self, training_type: str) -> bool:
        return training_type not in self.unpublished

    def presets(self, training_type: str) -> Sequence[PresetDataset]:
        return self.preset_datasets


class FakeScanner:
    """A DatasetScanner that finds what a test says is in a dataset: samples, invalid ones, format."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.scans = 0
        self.samples = 3
        self.totals: dict[str, int] = {}
        self.findings: tuple[Finding, ...] = ()
        self.invalid = 0
        self.format: Literal["sft", "preference", "ranking", "pretrain"] = "sft"

    async def scan(self, files: Sequence[DatasetFile], format: str, findings_key: str) -> Report:
        self.scans += 1
        await self._store.put(findings_key, b"")
        checked = [
            CheckedFile(uri=file.uri, etag=file.etag or "", size_bytes=file.size_bytes or 0, sha256="ab" * 32)
            for file in files
        ]
        return Report(
            digest=content_digest(files, format),
            format=self.format,
            files=tuple(checked),
            samples=self.samples,
            valid_samples=self.samples - self.invalid,
            totals=self.totals or ({"invalid-json": self.invalid} if self.invalid else {}),
            findings=self.findings,
        )


class World:
    """A service without a broker. ``store`` may be one that crashes or gives way; all else follows from it."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.clock = ManualClock()
        self.executor = FakeExecutor()
        self.catalog = FakeCatalog()
        self.scanner = FakeScanner(self.store)
        self.tokens = FakeTokenCounter()
        self.sampler = FakeTokenSampler()
        versions = {stage.name: stage.version for stage in STAGES}
        self.ports: dict[str, Any] = {
            "store": self.store,
            "clock": self.clock,
            "executors": FakeExecutors(self.executor),
            "catalog": self.catalog,
            "scanner": self.scanner,
            "tokens": self.tokens,
            "sampler": self.sampler,
            "planner": StorePlanner(self.store),
            "receipts": BucketReceipts(self.store, self.clock, versions),
            "projects": Projects(),
            "quote_valid_seconds": 3600.0,
            "retry_limit": 3,
            "cancel_grace_seconds": 30.0,
        }

    def handler(self, name: str) -> Any:
        """Return a stage's handler with its ports filled in."""
        stage = next(stage for stage in STAGES if stage.name == name)
        needs = list(inspect.signature(stage.handler).parameters)[1:]
        return functools.partial(stage.handler, **{need: self.ports[need] for need in needs})

    async def deliver(self, stage: str, *events: Event[Any]) -> Outcome:
        """Deliver events to one stage: all at once where it folds, else one."""
        folds = next(found for found in STAGES if found.name == stage).folds
        handler = self.handler(stage)
        outcome: Outcome = await handler(list(events) if folds else events[0])
        return outcome

    async def run(self, *events: Event[Any], skip: Sequence[str] = ()) -> list[Event[Any]]:
        """Deliver events to every stage that reads them, and what they say in turn; return all that was said."""
        waiting = list(events)
        said: list[Event[Any]] = []
        while waiting:
            current = waiting.pop(0)
            for stage in _readers(current.topic):
                if stage.name not in skip:
                    outcome = await self.deliver(stage.name, current)
                    said += outcome.events
                    waiting += [received(follow_on) for follow_on in outcome.events]
        return said

    async def import_dataset(self, dataset_id: str, body: bytes | None = None, **changes: Any) -> Event[Any]:
        """Put a dataset's file into the bucket, and return the event that says so. ``body`` None: no file."""
        uri = self.store.uri(f"uploads/{dataset_id}.jsonl")
        if body is not None:
            await self.store.put(self.store.key(uri), body)
        return event("dataset.imported", {"dataset_id": dataset_id, "files": [{"uri": uri}]} | changes)

    async def state(self, task_id: str) -> TaskState:
        state = await task_state.read(self.store, task_id)
        assert state is not None
        return state

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.store.objects if key.startswith(prefix))

    @property
    def submitted(self) -> list[JobSpec]:
        """The distinct jobs that were handed to the executor."""
        distinct: list[JobSpec] = []
        for spec in self.executor.submits:
            if spec not in distinct:
                distinct.append(spec)
        return distinct

    async def dispatched(self, task_id: str = "t-1", dataset_id: str = "d-1") -> TaskState:
        """Bring a task to Queued, its first attempt handed over."""
        await self.run(await self.import_dataset(dataset_id, b"{}\n"), form_event(task_id, dataset_id))
        return await self.state(task_id)

    async def progress(self, state: str, seq: int = 0, task_id: str = "t-1", **said: Any) -> Outcome:
        """Let a task's first attempt, or the stated one, say something."""
        body = {"task_id": task_id, "attempt": 1, "seq": seq, "state": state} | said
        return await self.deliver("training-progress", event("training.progress", body))

    async def leave_output(self, task_id: str = "t-1", attempt: int = 1, step: int = 10) -> dict[str, Any]:
        """Put a trained adapter where a trainer leaves it, and return it as the trainer says it."""
        prefix = f"{layout.attempt(task_id, attempt)}outputs/step-{step}/"
        files = {"adapter_model.safetensors": b"weights", "adapter_config.json": b"{}"}
        for name, body in files.items():
            await self.store.put(prefix + name, body)
        described = [
            {"path": name, "size_bytes": len(body), "sha256": layout.sha256_hex(body)} for name, body in files.items()
        ]
        uri = self.store.uri(prefix.removesuffix("/"))
        return {"step": step, "uri": uri, "kind": "adapter", "files": described, "loss": 0.5}


async def plan_of(world: World, task_id: str = "t-1") -> None:
    """Put the plan of a task that was dispatched where it belongs."""
    plan = Plan(
        task_id=task_id, training_type="FinetuneLoRA", format="sft", method="LoRA", base_model="tiny",
        base_version="1", base_prefix="base-models/tiny/1/", context_length=512, training=(), hyperparameters={},
        seed=1,
    )  # fmt: skip
    await world.store.put(layout.task(task_id, "plan"), msgspec.json.encode(plan))


def form(task_id: str = "t-1", *dataset_ids: str, **changes: Any) -> dict[str, Any]:
    """Return a form without faults, with changes. A change to None takes the field away."""
    good: dict[str, Any] = {
        "task_id": task_id,
        "name": "poems",
        "training_type": "FinetuneLoRA",
        "base_model": {"foundation": {"name": "tiny", "version": "1"}},
        "training_set": [{"dataset_id": dataset_id} for dataset_id in dataset_ids or ("d-1",)],
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def form_event(task_id: str = "t-1", *dataset_ids: str, **changes: Any) -> Event[Any]:
    """Return the event of a submitted form."""
    return event("task.created", form(task_id, *dataset_ids, **changes))


def command_event(command: str, task_id: str = "t-1", command_id: str | None = None) -> Event[Any]:
    """Return the event of a user's order."""
    body = {"command_id": command_id or f"{task_id}-{command}", "task_id": task_id, "command": command}
    return event("task.command", body)


def received(said: Event[Any]) -> Event[Any]:
    """Return an event of ours as a reader gets it: through bytes."""
    key, body, headers = encode(said)
    return decode(said.topic, key, body, headers)


def statuses(said: Sequence[Event[Any]]) -> list[TaskStatus]:
    """Return what was said about tasks, in order."""
    return [received(each).data for each in said if each.topic == "task.status"]


def ids(said: Sequence[Event[Any]]) -> list[str]:
    return [each.id for each in said]


def bodies(said: Sequence[Event[Any]]) -> list[bytes]:
    return [encode_body(each.data) for each in said]


def _readers(topic: str) -> list[Stage]:
    return [stage for stage in STAGES if topic in stage.topics]
