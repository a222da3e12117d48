"""Every format end to end: from an import and a form, through a worker and real trainer processes, to a model that is
better than its base on samples that nobody trained on, loaded by the libraries alone.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from contracts.task import Settlement
from handlers import layout
from handlers.planning.build import FORMATS
from tests.e2e.formats import samples
from tests.platform import Platform, form, platform
from worker.app import run_worker
from worker.broker import Brokers
from worker.embedded_broker import EmbeddedBroker
from worker.executors.local import local_executor
from worker.settings import Settings
from worker.storage import open_store
from worker.topics import ensure_topics

if find_spec("torch") is None:
    pytest.skip("the extra trainer is not installed", allow_module_level=True)

from tests.e2e.formats.measures import LanguageModel, as_lines, recall_at_1
from worker.trainer import base_models, environment

environment.prepare()

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="module"),
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

_SECONDS = 300


class Service(NamedTuple):
    """A running worker with its bucket, and the platform it speaks to."""

    platform: Platform
    bucket: Path
    settings: Settings

    async def trained(
        self,
        training_type: str,
        split: samples.Split,
        *,
        on: str | None = None,
        verify: bool = True,
        **hyperparameters: Any,
    ) -> tuple[Path, list[float]]:
        """Have a tiny model, or one exported earlier, trained on samples.

        Return where the exported one is, verified unless otherwise said, and the loss of each step.
        """
        name = f"{training_type}-on-{on or 'base'}"[:60]
        base = {"custom_model_id": on} if on else {"foundation": {"name": model_of(training_type), "version": "1"}}
        submitted = form(name, name, training_type=training_type, base_model=base, hyperparameters=hyperparameters)
        uploaded = self.bucket / "uploads" / f"{name}.jsonl"
        uploaded.parent.mkdir(exist_ok=True)
        uploaded.write_bytes(as_lines(split.training))
        imported = {"dataset_id": name, "files": [{"uri": uploaded.as_uri()}], "format": FORMATS[training_type]}
        await self.platform.publish("dataset.imported", name, imported | {"draft": submitted})
        await self.platform.publish("task.created", name, submitted)
        ended = await self.platform.wait_for_phase(name, "Completed", _SECONDS)
        await self.billed(name, ended.settlement)
        exported = (await self.platform.wait_for("model.exported", name)).data
        said = {event.data.seq: event.data for event in self.platform.said("training.progress", name)}
        steps = {each.progress.step: each.progress.loss for _, each in sorted(said.items()) if each.progress}
        folder = self.bucket / layout.model(exported.model_id)
        if verify:
            await self.verified(folder)
        return folder, list(steps.values())

    async def billed(self, name: str, settlement: Settlement) -> None:
        """Make sure that a task which succeeded is billed its last quote to the cent, and trained what that prices."""
        await self.platform.wait_for("cost.estimated", name)
        quotes = [event.data.quote for event in self.platform.said("cost.estimated", name)]
        quote = [each for each in quotes if each.complete][-1]
        assert (settlement.basis, settlement.quote_id) == ("quote", quote.quote_id)
        assert settlement.amount == settlement.quoted_amount == quote.amount
        assert settlement.trained_tokens == settlement.quoted_tokens == quote.billed_tokens

    async def verified(self, folder: Path) -> None:
        """Make sure that `worker models verify` finds nothing wrong with an export, and loads it."""
        command = (sys.executable, "-m", "worker", "models", "verify", str(folder), "--json")
        environment = os.environ | self.settings.to_environment()
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        verdict = json.loads((await process.communicate())[0])
        assert (process.returncode, verdict["problems"], verdict["unchecked"]) == (0, [], [])
        assert verdict["difference"] <= verdict["tolerance"]

    def base(self, training_type: str) -> Path:
        """Return where the base model of a training type is."""
        return self.bucket / base_models.prefix_of(model_of(training_type))


def model_of(training_type: str) -> str:
    return "tiny-encoder" if training_type == "Embedding" else "tiny"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("formats")
    async with EmbeddedBroker(folder / "broker.log") as servers:
        settings = Settings(
            kafka_bootstrap_servers=servers,
            storage_url=(folder / "bucket").as_uri(),
            work_dir=folder,
            session_timeout_seconds=3.0,
            progress_seconds=0.5,
            reconcile_seconds=0.5,
            drain_seconds=5.0,
        )
        for name in ("tiny", "tiny-encoder"):
            await asyncio.to_thread(base_models.provide, name, settings)
        await ensure_topics(Brokers(servers))
        stopping = asyncio.Event()
        async with open_store(settings), platform(servers) as seen:
            worker = asyncio.create_task(run_worker(settings, stopping=stopping))
            try:
                yield Service(seen, folder / "bucket", settings)
            finally:
                stopping.set()
                await worker
                executor = local_executor(settings)
                await executor.kill_all()
                await executor.close()


def fell(losses: list[float], to: float) -> bool:
    """Return whether the last tenth of the losses is below this share of the first."""
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail) < to * losses[0]


@pytest.mark.parametrize(
    ("training_type", "epochs", "share"),
    [("FinetuneSft", 3, 0.25), pytest.param("FinetuneLoRA", 3, 0.6, marks=pytest.mark.long)],
)
async def test_conversations_lose_a_fraction_of_what_they_lost_to_the_base(
    service: Service, training_type: str, epochs: int, share: float
) -> None:
    split = samples.conversations()

    folder, losses = await service.trained(training_type, split, epochs=epochs, checkpoint_steps=1000)

    assert fell(losses, to=share)
    base, trained = _losses(service, training_type, folder, lambda model: model.loss_of_answers(split.held_out))
    assert trained < share * base


async def test_texts_lose_a_quarter_of_what_they_lost_to_the_base(service: Service) -> None:
    split = samples.texts()

    folder, losses = await service.trained("Pretrain", split, epochs=12, batch_size=1, checkpoint_steps=1000)

    assert fell(losses, to=0.25)
    base, trained = _losses(service, "Pretrain", folder, lambda model: model.loss_of_texts(split.held_out))
    assert trained < 0.25 * base


@pytest.mark.parametrize("training_type", ["DPO", pytest.param("DPOLoRA", marks=pytest.mark.long)])
async def test_the_better_of_two_answers_is_the_more_probable_one(service: Service, training_type: str) -> None:
    split = samples.preferences()

    folder, losses = await service.trained(training_type, split, epochs=4, checkpoint_steps=1000)

    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert fell(losses, to=0.5)
    base, trained = _losses(service, training_type, folder, lambda model: model.agreement(split.held_out))
    assert trained >= 0.95
    assert trained >= base + 0.25


async def test_a_query_finds_its_document_among_all(service: Service) -> None:
    split = samples.rankings()

    folder, losses = await service.trained("Embedding", split, epochs=10, checkpoint_steps=1000)

    assert fell(losses, to=0.25)
    base, trained = (recall_at_1(path, split.held_out) for path in (service.base("Embedding"), folder))
    assert trained >= base + 0.5


async def test_training_goes_on_from_an_exported_adapter(service: Service) -> None:
    split = samples.conversations()
    few = samples.Split(split.training[:8], [])

    first, begun = await service.trained("FinetuneLoRA", few, epochs=6, checkpoint_steps=1000, verify=False)
    second, gone_on = await service.trained("FinetuneLoRA", few, on=first.name, epochs=1, checkpoint_steps=1000)

    assert gone_on[0] < 0.9 * begun[0]
    assert json.loads((second / "adapter_config.json").read_text())["base_model_name_or_path"] == first.name


def _losses(
    service: Service, training_type: str, folder: Path, measured: Callable[[LanguageModel], float]
) -> tuple[float, float]:
    base = service.base(training_type)
    return measured(LanguageModel(base, base)), measured(LanguageModel(folder, base))
