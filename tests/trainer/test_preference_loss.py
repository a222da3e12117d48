"""The loss of preferences: TRL's on the same batch, and what is compared with what."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from transformers import AutoTokenizer

from tests.fakes.few_samples import PREFERENCES
from tests.trainer.bench import Bench, losses
from tests.trainer.formats import plan_for
from tests.trainer.steps import applied, row, sequence
from worker.tokens.encoder import EncodedSample, SampleEncoder
from worker.trainer import reference
from worker.trainer.hyperparameters import hyperparameters_of
from worker.trainer.models import load_base
from worker.trainer.recipes.preference import PreferenceRecipe, log_probabilities
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.trainer.token_file import Row

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

ANSWERS = [
    [("capital of France?", " Paris", " the sea"), ("hello", " Hello! How are you?", " no")],
    [("下一句是?", "多少关心事", "我不知道")],
]


class Zero:
    """A reference to which everything is as probable: 0.0."""

    def of(self, batch: Any) -> torch.Tensor:
        return torch.zeros(len(batch["numbers"]))

    def save(self, folder: Path) -> None:
        pass


def recipe_for(bench: Bench, folder: Path, training_type: str = "DPO", **chosen: Any) -> PreferenceRecipe:
    plan = plan_for(bench, training_type, hyperparameters=chosen)
    recipe = PreferenceRecipe(plan, hyperparameters_of(plan))
    recipe.load(folder)
    recipe.reference = Zero()
    return recipe


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    bench = Bench(bucket_root)
    bench.state()
    return bench


def encoded(sample: dict[str, Any]) -> EncodedSample:
    (found,) = SampleEncoder(tiny_tokenizer()).encode("preference", [sample])
    return found


def rows_of(recipe: PreferenceRecipe, samples: list[dict[str, Any]]) -> list[Row]:
    kept = [recipe.kept(sample, encoded(sample)) for sample in samples]
    return [row(*each.sequences, marks=each.marks) for each in kept]


# --- TRL ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_loss_and_its_gradient_are_those_of_trl(bench: Bench, tiny_folder: Path, tmp_path: Path) -> None:
    from datasets import Dataset  # noqa: PLC0415 - a second of imports for this test alone
    from trl.trainer.dpo_config import DPOConfig  # noqa: PLC0415 - the same
    from trl.trainer.dpo_trainer import DPOTrainer  # noqa: PLC0415 - the same

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_folder)
    pairs = [pair for sample in ANSWERS for pair in sample]
    base = load_base(tiny_folder)
    # Another model than the reference, else every pair is worth the same.
    with torch.no_grad():
        for number, weight in enumerate(base.parameters()):
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    theirs: Any = DPOTrainer(
        model=base,
        ref_model=load_base(tiny_folder),
        args=DPOConfig(
            output_dir=str(tmp_path), beta=0.3, use_cpu=True, report_to=[], bf16=False, per_device_train_batch_size=3
        ),
        train_dataset=Dataset.from_list(
            [dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in pairs]
        ),
        processing_class=tokenizer,
    )
    (batch,) = theirs.get_train_dataloader()
    expected = theirs.compute_loss(theirs.model, batch)
    torch.autograd.backward(expected)
    gradient = {name: weight.grad.clone() for name, weight in theirs.model.named_parameters()}

    recipe = recipe_for(bench, tiny_folder, beta=0.3)
    rows = _rows_of_theirs(batch)
    recipe.reference = _Base(load_base(tiny_folder))
    recipe.model.load_state_dict(theirs.model.state_dict())
    mine = recipe.loss(recipe.model, recipe.collate(rows)) / len(rows)
    torch.autograd.backward(mine)

    assert mine.item() == pytest.approx(expected.item(), rel=1e-5)
    assert abs(mine.item() - 0.6931) > 0.01
    for name, weight in recipe.model.named_parameters():
        assert torch.allclose(weight.grad, gradient[name], atol=1e-5), name


class _Base:
    def __init__(self, model: Any) -> None:
        self._model = model

    @torch.no_grad()
    def of(self, batch: Any) -> torch.Tensor:
        return log_probabilities(self._model, batch)

    def save(self, folder: Path) -> None:
        pass


def _rows_of_theirs(batch: Any) -> list[Row]:
    """Return the rows of a batch of TRL's: its chosen answers, then the rejected ones."""
    sequences = [
        sequence(ids[mask.bool()].tolist(), completion[mask.bool()].float().tolist())
        for ids, mask, completion in zip(
            batch["input_ids"], batch["attention_mask"], batch["completion_mask"], strict=True
        )
    ]
    half = len(sequences) // 2
    return [row(sequences[n], sequences[half + n], marks=[0, 2]) for n in range(half)]


# --- which answers -----------------------------------------------------------------------------------------------


def compared(recipe: PreferenceRecipe, sample: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs (better, worse) of one sample, as texts."""
    texts = {tuple(ids.ids): text for ids, text in zip(encoded(sample).sequences, _texts(sample), strict=True)}
    batch = recipe.collate(rows_of(recipe, [sample]))
    lines = [
        texts[tuple(ids[mask.bool()].tolist())]
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    pairs = zip(batch["better"].tolist(), batch["worse"].tolist(), strict=True)
    return [(lines[better], lines[worse]) for better, worse in pairs]


def _texts(sample: dict[str, Any]) -> list[str]:
    last = sample["messages"][-1]
    return [each["text"] for each in last["content"]] if isinstance(last["content"], list) else ["better", "worse"]


def test_the_best_is_compared_with_the_worst_or_each_with_each_worse_one(bench: Bench, tiny_folder: Path) -> None:
    ends = recipe_for(bench, tiny_folder, pairs="best-worst")
    every = recipe_for(bench, tiny_folder, pairs="all")
    three, two, _, equals, *_ = PREFERENCES

    assert compared(ends, three) == [("多少关心事。", "我不知道")]
    assert compared(every, three) == [("多少关心事。", "我不知道"), ("多少关心事。", "请稍等"), ("请稍等", "我不知道")]
    assert compared(ends, two) == compared(every, two) == [("better", "worse")]
    # Equal scores make no pair.
    assert compared(ends, equals) == [("Paris", "a week")]
    assert set(compared(every, equals)) == {
        (better, worse) for better in ("Paris", "the capital is Paris") for worse in ("a week", "the sea")
    }


def test_a_sample_counts_once_however_many_pairs_it_has(bench: Bench, tiny_folder: Path) -> None:
    recipe = recipe_for(bench, tiny_folder, pairs="all", sft_weight=0.0)

    batch = recipe.collate(rows_of(recipe, PREFERENCES[:2]))
    answers = log_probabilities(recipe.model, batch)
    margins = 0.1 * (answers[batch["better"]] - answers[batch["worse"]])
    expected = -logsigmoid(margins[:3]).mean() - logsigmoid(margins[3])

    assert batch["items"].tolist() == [2]
    assert recipe.loss(recipe.model, batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_an_answer_that_is_marked_is_imitated_too(bench: Bench, tiny_folder: Path) -> None:
    plain = recipe_for(bench, tiny_folder, sft_weight=0.0)
    both = recipe_for(bench, tiny_folder, sft_weight=0.5)
    marked, unmarked = PREFERENCES[0], PREFERENCES[1]

    def loss(recipe: PreferenceRecipe, sample: dict[str, Any]) -> float:
        return recipe.loss(recipe.model, recipe.collate(rows_of(recipe, [sample]))).item()

    assert loss(both, unmarked) == loss(plain, unmarked)
    # The mean cross-entropy of the answer's tokens, as the model itself reckons it.
    sft = {"messages": [marked["messages"][0], {"role": "assistant", "content": "多少关心事。"}]}
    (only,) = SampleEncoder(tiny_tokenizer()).encode_sft([sft])
    ids = torch.tensor([list(only.ids)])
    labels = torch.where(torch.tensor([only.weights]) > 0, ids, -100)
    expected = both.model(input_ids=ids, labels=labels).loss
    assert loss(both, marked) - loss(plain, marked) == pytest.approx(0.5 * expected.item(), rel=1e-5)


@pytest.mark.parametrize(("batch_size", "accumulation"), [(4, 1), (2, 2), (1, 4)])
def test_accumulated_batches_give_the_gradient_of_one(
    bench: Bench, tiny_folder: Path, tmp_path: Path, batch_size: int, accumulation: int
) -> None:
    recipe = recipe_for(bench, tiny_folder, pairs="all")
    rows = rows_of(recipe, PREFERENCES[:4])
    torch.autograd.backward(recipe.loss(recipe.model, recipe.collate(rows)) / 4)
    expected = {name: weight.grad.clone() for name, weight in recipe.model.named_parameters()}
    recipe.model.zero_grad()

    found = applied(recipe, rows, tmp_path, batch_size, accumulation)

    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=2e-6), name


# --- the base ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training_type", ["DPO", "DPOLoRA"])
def test_before_the_first_step_no_answer_has_gained_anything(bench: Bench, training_type: str) -> None:
    plan_for(bench, training_type, hyperparameters={"max_steps": 2, "sft_weight": 0.0, "lora_dropout": 0.0})

    _, sink = bench.run()

    (_, first), (_, second) = losses(sink)[:2]
    assert first == pytest.approx(0.693147, abs=1e-6)
    assert second is not None
    assert second != first


def test_what_the_base_says_travels_with_the_checkpoint_and_is_not_computed_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_for(bench, "DPO")
    _, stopped = bench.run_until(1)
    assert stopped.last.checkpoint is not None
    folder = bench.path(stopped.last.checkpoint.uri)
    held = load_file(folder / reference.FILE)["log_probabilities"]
    assert (held < 0).all()
    # All answers of the first sample, the best and the worst of it, and so on: one number each.
    assert len(held) == 3 + 2 + 2 + 4 + 2 + 2
    monkeypatch.setattr(PreferenceRecipe, "_says", pytest.fail)
    bench.state(attempt=2)

    _, resumed = bench.run(bench.spec(2, resume_from=bench.store.key(stopped.last.checkpoint.uri)))

    assert resumed.last.state == "succeeded"
    assert {file.path for file in resumed.last.outputs[0].files}.isdisjoint({reference.FILE})
