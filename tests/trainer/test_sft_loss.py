"""The loss of conversations: exact weights, exact over accumulated batches."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.bench import Bench
from tests.trainer.steps import applied, row, sequence
from worker.tokens.encoder import EncodedSequence
from worker.trainer.cross_entropy import IGNORED, weighted_sum
from worker.trainer.hyperparameters import Hyperparameters
from worker.trainer.models import load_base
from worker.trainer.recipes.sft import SftRecipe

pytestmark = pytest.mark.trainer

#: Of different lengths, and with different numbers of trained tokens.
SAMPLES = [
    sequence([5, 6, 7, 8, 9, 10], [0, 0, 0, 1, 1, 1]),
    sequence([11, 12, 13], [0, 0.5, 1]),
    sequence([14, 15, 16, 17, 18, 19, 20, 21], [0, 0, 0, 0, 0, 0, 0, 0.25]),
    sequence([22, 23, 24, 25], [0, 1, 0, 1]),
]


@pytest.fixture
def recipe(bucket_root: Path) -> SftRecipe:
    return SftRecipe(Bench(bucket_root).plan(), Hyperparameters())


def gradients(model: Any, samples: list[EncodedSequence], recipe: SftRecipe) -> dict[str, torch.Tensor]:
    """Return the gradient of the summed loss, without any trainer."""
    model.zero_grad()
    torch.autograd.backward(recipe.loss(model, recipe.collate([row(sample) for sample in samples])))
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def weighted(weight: float) -> EncodedSequence:
    return sequence([5, 6, 7, 8, 9], [0, 0, weight, weight, weight])


def test_a_weight_of_0_gives_no_gradient_and_a_half_exactly_half(tiny_folder: Path, recipe: SftRecipe) -> None:
    model = load_base(tiny_folder)
    whole, half, none = (gradients(model, [weighted(value)], recipe) for value in (1.0, 0.5, 0.0))

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


def test_a_batch_is_padded_and_its_first_tokens_are_never_trained(recipe: SftRecipe) -> None:
    recipe.pad_id = 99

    batch = recipe.collate([row(sequence([1, 2, 3], [1, 1, 0.5])), row(sequence([4], [1]))])

    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 99, 99]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3], [IGNORED] * 3]
    assert batch["loss_weights"].tolist() == [[0, 1, 0.5], [0, 0, 0]]
    assert batch["items"].tolist() == [2]
    assert batch["work"].tolist() == [4, 10]


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulated_batches_give_the_gradient_of_one(
    tiny_folder: Path, tmp_path: Path, recipe: SftRecipe, batch_size: int, accumulation: int
) -> None:
    recipe.load(tiny_folder)
    trained_tokens = sum(sample.trained for sample in SAMPLES)
    expected = {name: total / trained_tokens for name, total in gradients(recipe.model, SAMPLES, recipe).items()}
    recipe.model.zero_grad()

    found = applied(recipe, [row(sample) for sample in SAMPLES], tmp_path, batch_size, accumulation)

    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=2e-6), name
