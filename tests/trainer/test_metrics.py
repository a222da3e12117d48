"""What a step costs, and the share of a device that it is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from worker.trainer import metrics
from worker.trainer.hyperparameters import Hyperparameters
from worker.trainer.metrics import Cost, Meter, Work, cost_of, peak_of
from worker.trainer.models import load_base, with_adapter

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


def test_a_token_costs_six_operations_a_weight_that_is_multiplied_by(tiny_folder: Path) -> None:
    model = load_base(tiny_folder)
    layers, width, inner, narrow, vocabulary = 4, 160, 480, 80, 1024
    weights = layers * (2 * width * width + 2 * width * narrow + 3 * width * inner) + width * vocabulary

    cost = cost_of(model, causal=True)

    assert cost.a_token == 6 * weights
    # Scores, and sums of values by them: forward and twice that back, for half of the pairs, in each layer.
    assert cost.a_square == layers * 3 * (2 * width + 2 * width) / 2
    assert cost_of(model, causal=False).a_square == 2 * cost.a_square
    assert cost.of(Work(tokens=10, squares=100)) == 60 * weights + 100 * cost.a_square


def test_a_weight_that_is_not_trained_costs_two_thirds(tiny_folder: Path) -> None:
    whole = cost_of(load_base(tiny_folder), causal=True)

    adapted = cost_of(with_adapter(load_base(tiny_folder), Hyperparameters(lora_rank=1), 0), causal=True)

    assert 2 / 3 < adapted.a_token / whole.a_token < 0.7


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 2060", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_what_is_known_of_a_device_goes_by_its_name(device: str, peak: float | None) -> None:
    assert peak_of(device) == peak


def test_utilisation_is_of_all_devices_together(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5)
    work = Work()
    meter = Meter(work, Cost(a_token=1e12, a_square=0.0), torch.device("cuda"), processes=2, before=40)

    meter.begin(step=4)
    work.tokens = 1560
    read = meter.read(step=9, total_steps=19)

    assert read == {
        "trained_tokens": 1600, "tokens_per_second": 156.0, "mfu": 0.25, "memory_bytes": 5, "eta_seconds": 20.0,
    }  # fmt: skip


def test_models_of_other_makes_can_be_reckoned_too() -> None:
    model: Any = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 4, bias=False))
    model.config = SimpleNamespace(hidden_size=4)

    assert cost_of(model, causal=True) == Cost(6 * 16, 0)
