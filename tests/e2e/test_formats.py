"""Every format end to end: from an import and a form, through a worker and real trainer processes, to a model that is
better than its base on samples that nobody trained on, loaded by the libraries alone. What holds whatever the format
(the bill, the plan, the proof) is in formats/service.py. `make test` runs two of them, `make test-long` the others.
"""

import json
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.formats import samples

if find_spec("torch") is None:
    pytest.skip("the extra trainer is not installed", allow_module_level=True)

from tests.e2e.formats.machine import machine
from tests.e2e.formats.measures import LanguageModel, recall_at_1
from tests.e2e.formats.service import Service
from worker.trainer import environment

environment.prepare()

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.timeout(400),
    pytest.mark.asyncio(loop_scope="module"),
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    here, elsewhere = (tmp_path_factory.mktemp(name) for name in ("here", "elsewhere"))
    async with machine(here, trains=True) as trains, machine(elsewhere, trains=False) as plans:
        yield Service(trains, plans)


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


@pytest.mark.long
@pytest.mark.parametrize("training_type", ["DPO", "DPOLoRA"])
async def test_the_better_of_two_answers_is_the_more_probable_one(service: Service, training_type: str) -> None:
    split = samples.preferences()

    folder, losses = await service.trained(training_type, split, epochs=4, checkpoint_steps=1000)

    assert losses[0] == pytest.approx(0.6931, abs=1e-3)
    assert fell(losses, to=0.5)
    base, trained = _losses(service, training_type, folder, lambda model: model.agreement(split.held_out))
    assert trained >= 0.95
    assert trained >= base + 0.25


@pytest.mark.long
async def test_a_query_finds_its_document_among_all(service: Service) -> None:
    split = samples.rankings()

    folder, losses = await service.trained("Embedding", split, epochs=10, checkpoint_steps=1000)

    assert fell(losses, to=0.25)
    base, trained = (recall_at_1(path, split.held_out) for path in (service.base("Embedding"), folder))
    assert trained >= base + 0.5


@pytest.mark.long
async def test_training_goes_on_from_an_exported_adapter(service: Service) -> None:
    split = samples.conversations()
    few = samples.Split(split.training[:8], [])

    first, begun = await service.trained("FinetuneLoRA", few, epochs=6, checkpoint_steps=1000)
    second, gone_on = await service.trained("FinetuneLoRA", few, on=first.name, epochs=1, checkpoint_steps=1000)

    assert gone_on[0] < 0.9 * begun[0]
    assert json.loads((second / "adapter_config.json").read_text())["base_model_name_or_path"] == first.name


def _losses(
    service: Service, training_type: str, folder: Path, measured: Callable[[LanguageModel], float]
) -> tuple[float, float]:
    base = service.base(training_type)
    return measured(LanguageModel(base, base)), measured(LanguageModel(folder, base))
