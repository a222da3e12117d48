"""The demo's story: import a dataset, see the fee, submit, watch training, find the models, ask one of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import msgspec
from aiokafka import AIOKafkaConsumer

from contracts.codec import Poison, decode
from contracts.dataset import DatasetFile, DatasetImported
from contracts.envelope import Event, derived_id
from contracts.topics import TOPICS
from worker.delivery.publishing import Publisher
from worker.demo.facts import Facts
from worker.demo.processes import SupervisedWorker, run_to_end
from worker.demo.view import View
from worker.executors.local import local_executor
from worker.kafka.broker import Brokers, connected
from worker.kafka.embedded import EmbeddedBroker
from worker.kafka.topics import ensure_topics
from worker.settings import Settings
from worker.storage import open_store

DATASET = Path(__file__).with_name("dataset.jsonl")
PROMPT = "What does the worker do when the same event arrives twice?"


class Model(NamedTuple):
    """A base model the demo can train, and how, so that it shows something in little time.

    ``pretrained``: it can speak before it is trained. One of random weights is not asked for an answer then.
    """

    name: str
    training_type: str
    hyperparameters: dict[str, Any]
    pretrained: bool


MODELS = {
    "smollm2": Model("SmolLM2-135M-Instruct", "FinetuneLoRA", {"epochs": 15}, pretrained=True),
    # All of its weights: an adapter on random ones learns too little to answer. 30 epochs were not enough once in
    # some forty runs.
    "tiny": Model("tiny", "FinetuneSft", {"epochs": 50}, pretrained=False),
}


class DemoFailed(RuntimeError):
    """The story did not end with models in the repository; the text says where it stopped."""


class Demo:
    """One run of the story. Every run has its own ids, so that running again in the same folder works again."""

    def __init__(self, folder: Path, model: Model, view: View) -> None:
        now = datetime.now(UTC)
        name = f"demo-{now:%Y%m%d-%H%M%S-%f}"
        self.model = model
        self.view = view
        self.facts = Facts(f"{name}-task", f"{name}-poems", now)
        self.worker: SupervisedWorker | None = None
        self._folder = folder.absolute()
        self.answers: dict[str, str] = {}
        #: How often each of the platform's events is published. Once is enough; more must change nothing.
        self.published_times = 1

    def settings(self, bootstrap_servers: str) -> Settings:
        """Return the settings of the demo's worker: everything in one folder, and quick group joins."""
        return Settings(
            kafka_bootstrap_servers=bootstrap_servers,
            # The embedded broker lets a group wait for half of this before it begins.
            session_timeout_seconds=3.0,
            storage_url=(self._folder / "bucket").as_uri(),
            work_dir=self._folder,
            reconcile_seconds=1.0,
            lost_job_seconds=4.0,
            lease_seconds=4.0,
            heartbeat_seconds=2.0,
            cancel_grace_seconds=10.0,
        )

    async def run(self) -> None:
        """Tell the story to its end. Raises DemoFailed, ProcessFailed or EmbeddedBrokerError with a remedy."""
        self._folder.mkdir(parents=True, exist_ok=True)
        async with EmbeddedBroker(self._folder / "logs" / "broker.log") as servers:
            settings = self.settings(servers)
            self.view.note(f"embedded broker at {servers}; bucket in {self._folder / 'bucket'}")
            await ensure_topics(Brokers.of(settings))
            self.view.note(f"base model {self.model.name} goes into the bucket")
            await run_to_end(settings, "worker.trainer.base_models", self.model.name)
            async with self._worker(settings), self._publisher(settings) as publisher:
                await self._tell(settings, publisher)
            await self._ask(settings)

    @asynccontextmanager
    async def _worker(self, settings: Settings) -> AsyncIterator[None]:
        log_file = self._folder / "logs" / "worker.log"
        self.view.note(f"worker started; it logs to {log_file}")
        try:
            async with SupervisedWorker(settings, log_file, self._restarted) as self.worker:
                yield
        finally:
            # A trainer outlives its worker on purpose; it must not outlive the demo.
            executor = local_executor(settings)
            await executor.kill_all()
            await executor.close()

    @asynccontextmanager
    async def _publisher(self, settings: Settings) -> AsyncIterator[Publisher]:
        publisher = Publisher(Brokers.of(settings))
        await publisher.start()
        try:
            yield publisher
        finally:
            await publisher.stop()

    def _restarted(self, code: int) -> None:
        self.view.note(f"the worker ended with {code}; its supervisor starts it again")

    async def _tell(self, settings: Settings, publisher: Publisher) -> None:
        async with self._watched(settings) as watcher:
            await publisher.publish([await self._import(settings)] * self.published_times)
            await self._until(lambda: self.facts.estimate is not None or self.facts.rejected, 120, watcher, "the fee")
            self._check_fee()
            await publisher.publish([self._submission()] * self.published_times)
            await self._until(lambda: self.facts.ended, 1800, watcher, "the models")
        status = self.facts.status
        if status is None or status.phase.value != "Completed":
            raise DemoFailed(f"the task ended: {status.phase.value}, {status.message}" if status else "nothing came")

    def _check_fee(self) -> None:
        """A user would not submit without having seen the fee."""
        if self.facts.rejected:
            raise DemoFailed(f"the dataset was rejected: {self.facts.verdict.message}")
        estimate = self.facts.estimate
        if estimate is None or not estimate.data.quote.complete:
            missing = estimate.data.quote.missing if estimate else ()
            raise DemoFailed(f"the fee is not known: {'; '.join(missing)}")

    async def _import(self, settings: Settings) -> Event[Any]:
        async with open_store(settings) as store:
            key = f"uploads/{self.facts.dataset_id}/{DATASET.name}"
            await store.upload(key, DATASET)
            uri = store.uri(key)
        self.facts.imported_at = datetime.now(UTC)
        imported = DatasetImported(
            dataset_id=self.facts.dataset_id,
            files=(DatasetFile(uri=uri),),
            format="auto",
            imported_at=self.facts.imported_at,
            draft=self.form(),
        )
        return self._platform_event("dataset.imported", self.facts.dataset_id, imported)

    def form(self) -> dict[str, Any]:
        """Return the form as the platform's user filled it in."""
        return {
            "task_id": self.facts.task_id,
            "name": "poems-and-habits",
            "training_type": self.model.training_type,
            "base_model": {"foundation": {"name": self.model.name, "version": "1"}},
            "training_set": [{"dataset_id": self.facts.dataset_id}],
            "hyperparameters": self.model.hyperparameters,
            "output_count": 1,
        }

    def _submission(self) -> Event[Any]:
        return self._platform_event("task.created", self.facts.task_id, self.form())

    def _platform_event(self, topic: str, key: str, data: Any) -> Event[Any]:
        return Event(
            topic=topic,
            key=key,
            id=derived_id("demo", topic, key),
            type=topic,
            source="demo-platform",
            time=datetime.now(UTC),
            data=data,
            subject=key,
        )

    @asynccontextmanager
    async def _watched(self, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
        brokers = Brokers.of(settings)
        async with connected(AIOKafkaConsumer, brokers, *TOPICS, auto_offset_reset="earliest") as consumer:
            watcher = asyncio.create_task(self._watch(consumer))
            try:
                yield watcher
            finally:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            with contextlib.suppress(Poison):
                event = decode(record.topic, record.key, record.value, record.headers, record.timestamp)
                if self.facts.take(event):
                    self.view.event(event, datetime.now(UTC))

    async def _until(self, done: Any, seconds: float, watcher: asyncio.Task[None], what: str) -> None:
        """Wait until a fact is there; the watcher brings facts, so its death ends the wait."""
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    if watcher.done():
                        watcher.result()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            log_file = self._folder / "logs" / "worker.log"
            raise DemoFailed(f"{what} did not come within {seconds:.0f} s; see {log_file}") from error

    async def _ask(self, settings: Settings) -> None:
        """Load the exported model in a fresh process and ask it, and its base where that can speak, the same."""
        who = "the base model and the exported one, each" if self.model.pretrained else "the exported model"
        self.view.note(f"asking {who} in a fresh process")
        last = max(self.facts.models.values(), key=lambda model: model.step)
        if self.model.pretrained:
            self.answers["base"] = await self._answer(settings, "--base", self.model.name)
        self.answers["tuned"] = await self._answer(settings, "--model-uri", last.uri)

    async def _answer(self, settings: Settings, *target: str) -> str:
        out = await run_to_end(settings, "worker.trainer.generate", *target, "--prompt", PROMPT, "--json")
        return str(msgspec.json.decode(out)["answer"])

    def paths(self) -> dict[str, str]:
        """Return where each exported model is on this machine."""
        return {name: unquote(urlparse(model.uri).path) for name, model in self.facts.models.items()}

    def tokens(self) -> int | None:
        """Return the tokens of the dataset, as they were billed for one epoch."""
        if self.facts.estimate is None:
            return None
        return sum(item.tokens for item in self.facts.estimate.data.quote.items)
