"""Texts in rows of the context: filled well, never cut where they fit, and blind to each other."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlers.planning.packing import packed
from tests.trainer.bench import Bench
from tests.trainer.formats import plan_for
from tests.trainer.steps import applied, row, sequence
from worker.trainer.cross_entropy import IGNORED
from worker.trainer.hyperparameters import Hyperparameters
from worker.trainer.packing import PackedRows
from worker.trainer.recipes.pretrain import PretrainRecipe, leaks
from worker.trainer.token_file import Row, TokenFile, TokenReader

pytestmark = pytest.mark.trainer


@pytest.fixture
def recipe(bucket_root: Path, tiny_folder: Path) -> PretrainRecipe:
    recipe = PretrainRecipe(plan_for(Bench(bucket_root), "Pretrain", context_length=16), Hyperparameters())
    recipe.load(tiny_folder)
    return recipe


def text(seed: int, length: int) -> list[int]:
    return random.Random(seed).sample(range(3, 1000), length)  # noqa: S311 - no secret


def gradients(recipe: PretrainRecipe, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    recipe.model.zero_grad()
    torch.autograd.backward(recipe.loss(recipe.model, recipe.collate(rows)))
    return {name: weight.grad.clone() for name, weight in recipe.model.named_parameters()}


# --- rows --------------------------------------------------------------------------------------------------------


def test_every_length_is_in_one_row_and_no_row_is_overfull() -> None:
    lengths = random.Random(2).choices(range(1, 101), k=5000)  # noqa: S311 - no secret

    rows = list(packed(lengths, 100))

    assert sorted(index for members in rows for index in members) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in members) <= 100 for members in rows)
    # Nearly as few as there can be, of the hardest lengths to fit.
    assert len(rows) < 1.03 * sum(lengths) / 100
    assert rows == list(packed(lengths, 100))


def test_rows_are_closed_before_all_is_read() -> None:
    seen = []

    def lengths() -> Any:
        for number in range(1000):
            seen.append(number)
            yield 60

    next(packed(lengths(), 100))

    assert len(seen) < 100


def test_only_a_text_longer_than_the_context_is_cut(tmp_path: Path) -> None:
    texts = [text(1, 37), text(2, 16), text(3, 3), text(4, 1)]
    with TokenFile(tmp_path) as file:
        for ids in texts:
            file.append([sequence(ids)])

    rows = PackedRows(TokenReader(tmp_path), np.array([0, 1, 2, 3, 2]), 16)

    found = sorted([piece.ids.tolist() for number in range(len(rows)) for piece in rows[number].sequences])
    first = texts[0]
    assert found == sorted([first[:16], first[16:32], first[32:], *texts[1:], texts[2]])
    assert all(sum(len(piece.ids) for piece in rows[number].sequences) <= 16 for number in range(len(rows)))


def test_nothing_predicts_the_first_token_of_a_piece_and_padding_is_not_trained(recipe: PretrainRecipe) -> None:
    recipe.pad_id = 99

    batch = recipe.collate([row(sequence([1, 2, 3]), sequence([4, 5])), row(sequence([6, 7]))])

    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, 5], [6, 7, 99, 99, 99]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]]
    assert batch["labels"].tolist() == [[IGNORED, 2, 3, IGNORED, 5], [IGNORED, 7, IGNORED, IGNORED, IGNORED]]
    assert batch["items"].tolist() == [4]
    assert batch["work"].tolist() == [7, 9 + 4 + 4]


# --- what texts know of each other -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_text_trains_the_same_whatever_is_beside_it(recipe: PretrainRecipe, place: int) -> None:
    own = sequence(text(7, 6))

    def beside(*neighbours: list[int]) -> dict[str, torch.Tensor]:
        # The neighbours are there, but train nothing.
        pieces = [sequence(ids, [0.0] * len(ids)) for ids in neighbours]
        pieces.insert(place, own)
        return gradients(recipe, [row(*pieces), row(sequence(text(1, 16), [0.0] * 16))])

    alone = gradients(recipe, [row(own)])
    one, other = beside(text(8, 4), text(9, 5)), beside(text(10, 4), text(11, 5))

    for name, gradient in alone.items():
        assert torch.equal(one[name], other[name]), name
        assert torch.allclose(one[name], gradient, atol=1e-5), name
    assert any(gradient.any() for gradient in alone.values())


def test_packed_rows_train_what_their_texts_train_one_by_one(recipe: PretrainRecipe, tmp_path: Path) -> None:
    texts = [sequence(text(number, length)) for number, length in enumerate((5, 9, 2, 7, 3, 12))]
    trained = sum(len(each.ids) - 1 for each in texts)
    parts = [gradients(recipe, [row(each)]) for each in texts]
    expected = {name: sum(part[name] for part in parts) / trained for name in parts[0]}
    recipe.model.zero_grad()

    rows = [row(*texts[:3]), row(texts[3], texts[4]), row(texts[5])]
    found = applied(recipe, rows, tmp_path, batch_size=2, accumulation=2)

    for name, gradient in expected.items():
        assert torch.allclose(found[name], torch.as_tensor(gradient), atol=2e-6), name


def _without_positions(forward: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **inputs: forward(**{name: value for name, value in inputs.items() if name != "position_ids"})


def test_a_model_that_lets_texts_see_each_other_is_found_out(recipe: PretrainRecipe) -> None:
    before = torch.get_rng_state()
    assert not leaks(recipe.model)
    assert torch.equal(torch.get_rng_state(), before)
    # As a model does whose attention makes nothing of positions.
    recipe.model.forward = _without_positions(recipe.model.forward)

    assert leaks(recipe.model)


def test_a_model_that_leaks_is_not_trained(bucket_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.trainer.recipes.pretrain.leaks", lambda _: True)
    bench = Bench(bucket_root)
    bench.state()
    plan_for(bench, "Pretrain")

    _, sink = bench.run()

    assert sink.last.failure is not None
    assert (sink.last.failure.reason, sink.last.failure.retryable) == ("packing-leaks", False)
