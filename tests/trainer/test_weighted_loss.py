"""The loss: exact weights, exact over accumulated batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from worker.tokens.encoder import EncodedSequence, Trained
from worker.trainer.dataset import EpochSampler
from worker.trainer.models import load_base
from worker.trainer.token_file import TokenFile, Tokens, TokenView
from worker.trainer.weighted import IGNORED, WeightedCollator, WeightedTrainer, weighted_sum

pytestmark = pytest.mark.trainer


def sequence(ids: list[int], weights: list[float]) -> EncodedSequence:
    stretches = (Trained(index, index + 1, weight) for index, weight in enumerate(weights) if weight > 0)
    return EncodedSequence(ids, tuple(stretches))


#: Of different lengths, and with different numbers of trained tokens.
SAMPLES = [
    sequence([5, 6, 7, 8, 9, 10], [0, 0, 0, 1, 1, 1]),
    sequence([11, 12, 13], [0, 0.5, 1]),
    sequence([14, 15, 16, 17, 18, 19, 20, 21], [0, 0, 0, 0, 0, 0, 0, 0.25]),
    sequence([22, 23, 24, 25], [0, 1, 0, 1]),
]


def gradients(model: Any, samples: list[EncodedSequence], folder: Path) -> dict[str, torch.Tensor]:
    """Return the gradient of the summed loss, without any trainer."""
    model.zero_grad()
    batch = WeightedCollator(0)(rows(samples, folder))
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.autograd.backward(weighted_sum(logits, batch["labels"], batch["loss_weights"]))
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def view(samples: list[EncodedSequence], folder: Path) -> TokenView:
    with TokenFile(folder) as file:
        numbers = [file.append(sample) for sample in samples]
    return file.view(numbers)


def rows(samples: list[EncodedSequence], folder: Path) -> list[Tokens]:
    made = view(samples, folder)
    return [made[index] for index in range(len(made))]


def weighted(weight: float) -> EncodedSequence:
    return sequence([5, 6, 7, 8, 9], [0, 0, weight, weight, weight])


def test_a_weight_of_0_gives_no_gradient_and_a_half_exactly_half(tiny_folder: Path, tmp_path: Path) -> None:
    model = load_base(tiny_folder)
    whole, half, none = (gradients(model, [weighted(value)], tmp_path) for value in (1.0, 0.5, 0.0))

    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    for name in whole:
        assert torch.equal(half[name], whole[name] * 0.5)
        assert not none[name].any()


def test_what_is_masked_does_not_matter() -> None:
    logits = torch.randn(1, 5, 7, requires_grad=True)
    labels, weights = torch.tensor([[IGNORED, IGNORED, 3, IGNORED, 2]]), torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.5]])

    torch.autograd.backward(weighted_sum(logits, labels, weights))

    assert logits.grad is not None
    assert [bool(row.any()) for row in logits.grad[0]] == [False, True, False, True, False]


def test_the_collator_pads_and_never_trains_the_first_token(tmp_path: Path) -> None:
    collator = WeightedCollator(99)

    batch = collator(rows([sequence([1, 2, 3], [1, 1, 0.5]), sequence([4], [1])], tmp_path))

    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 99, 99]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3], [IGNORED] * 3]
    assert batch["loss_weights"].tolist() == [[0, 1, 0.5], [0, 0, 0]]
    assert collator.tokens == 4


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulated_batches_give_the_gradient_of_one(
    tiny_folder: Path, tmp_path: Path, batch_size: int, accumulation: int
) -> None:
    model = load_base(tiny_folder)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    trained_tokens = sum(sample.trained for sample in SAMPLES)
    expected = {name: total / trained_tokens for name, total in gradients(model, SAMPLES, tmp_path).items()}
    model.zero_grad()
    trainer = WeightedTrainer(
        sampler=EpochSampler(len(SAMPLES), 0, shuffle=False),
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path / "run"),
            max_steps=1,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            remove_unused_columns=False,
        ),
        data_collator=WeightedCollator(0),
        train_dataset=view(SAMPLES, tmp_path),
    )

    trainer.train()

    for name, weight in model.named_parameters():
        assert torch.allclose(before[name] - weight, expected[name], atol=2e-6), name
