"""The loss of rankings: that of sentence-transformers on the same batch, what is a negative, and the export."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn.functional import cross_entropy, normalize

from tests.fakes.few_samples import RANKINGS
from tests.trainer.bench import Bench
from tests.trainer.formats import plan_for
from tests.trainer.steps import applied, row
from worker.tokens.encoder import SampleEncoder
from worker.trainer.hyperparameters import hyperparameters_of
from worker.trainer.model_files import DESCRIPTIONS
from worker.trainer.recipes.ranking import RankingRecipe
from worker.trainer.tiny_encoder_tokenizer import tiny_encoder_tokenizer
from worker.trainer.token_file import Row

pytestmark = pytest.mark.trainer

#: As many negatives each, as sentence-transformers wants them.
EVEN: list[dict[str, Any]] = [
    {"query": "capital of France", "docs": [{"text": "a week", "label": 0}, {"text": "Paris", "label": 1}]},
    {"query": "days of a week", "docs": [{"text": "seven", "label": 1}, {"text": "fifty-two", "label": 0}]},
    {"query": "下一句", "docs": [{"text": "疑是地上霜", "label": 1}, {"text": "restart the router", "label": 0}]},
]


@pytest.fixture
def bench(both_models: Path) -> Bench:
    bench = Bench(both_models)
    bench.state()
    return bench


def recipe_for(bench: Bench, folder: Path, **chosen: Any) -> RankingRecipe:
    plan = plan_for(bench, "Embedding", hyperparameters=chosen)
    recipe = RankingRecipe(plan, hyperparameters_of(plan))
    recipe.load(folder)
    # Dropout would make two of the same differ.
    recipe.model.eval()
    return recipe


def rows_of(recipe: RankingRecipe, samples: list[dict[str, Any]]) -> list[Row]:
    encoded = SampleEncoder(tiny_encoder_tokenizer()).encode("ranking", samples)
    return [row(*recipe.kept(sample, each).sequences) for sample, each in zip(samples, encoded, strict=True)]


def loss_of(recipe: RankingRecipe, samples: list[dict[str, Any]]) -> torch.Tensor:
    return recipe.loss(recipe.model, recipe.collate(rows_of(recipe, samples)))


def embedded(recipe: RankingRecipe, *texts: str) -> torch.Tensor:
    return normalize(torch.from_numpy(recipe.model.encode(list(texts))), dim=-1)


def gradients(recipe: RankingRecipe) -> dict[str, torch.Tensor]:
    """Return what was added up of each weight that has any, and begin anew."""
    found = {name: weight.grad.clone() for name, weight in recipe.model.named_parameters() if weight.grad is not None}
    recipe.model.zero_grad()
    return found


def test_the_loss_and_its_gradient_are_those_of_sentence_transformers(bench: Bench, encoder_folder: Path) -> None:
    recipe = recipe_for(bench, encoder_folder, temperature=0.1)
    theirs = MultipleNegativesRankingLoss(recipe.model, scale=10.0)
    columns = [
        [sample["query"] for sample in EVEN],
        [doc["text"] for sample in EVEN for doc in sample["docs"] if doc["label"]],
        [doc["text"] for sample in EVEN for doc in sample["docs"] if not doc["label"]],
    ]
    expected = theirs([recipe.model.preprocess(texts) for texts in columns], torch.empty(0))
    torch.autograd.backward(expected)
    gradient = gradients(recipe)

    mine = loss_of(recipe, EVEN) / len(EVEN)
    torch.autograd.backward(mine)

    assert mine.item() == pytest.approx(expected.item(), rel=1e-5)
    assert len(gradient) > 20
    for name, weight in recipe.model.named_parameters():
        if name in gradient:
            assert torch.allclose(weight.grad, gradient[name], atol=1e-5), name


def test_without_in_batch_negatives_only_a_querys_own_documents_count(bench: Bench, encoder_folder: Path) -> None:
    recipe = recipe_for(bench, encoder_folder, in_batch_negatives=False, temperature=0.5)

    together = loss_of(recipe, RANKINGS)
    one_by_one = sum(loss_of(recipe, [sample]).item() for sample in RANKINGS)

    assert together.item() == pytest.approx(one_by_one, rel=1e-4)
    query, right, wrong = embedded(recipe, "days of a week", "seven", "fifty-two")
    expected = cross_entropy(torch.stack([query @ right, query @ wrong]) / 0.5, torch.tensor(0))
    assert loss_of(recipe, [EVEN[1]]).item() == pytest.approx(expected.item(), rel=1e-4)
    # Nothing to be kept from, nothing to learn.
    assert loss_of(recipe, [RANKINGS[1]]).item() == 0


def test_a_document_with_the_positives_text_is_no_negative(bench: Bench, encoder_folder: Path) -> None:
    recipe = recipe_for(bench, encoder_folder)
    again: dict[str, Any] = {"query": "how long is a week?", "docs": [{"text": "seven", "label": 1}]}

    once, twice = loss_of(recipe, EVEN), loss_of(recipe, [*EVEN, again])

    # Neither the query's twin nor its document add to what the others lose.
    queries = embedded(recipe, *(sample["query"] for sample in EVEN), again["query"])
    documents = embedded(recipe, "Paris", "seven", "疑是地上霜", "a week", "fifty-two", "restart the router")
    last = cross_entropy((queries[3] @ documents.T) / 0.05, torch.tensor(1))
    scores = (queries[:3] @ documents.T) / 0.05
    more = torch.cat([scores, (queries[:3] @ documents[1] / 0.05)[:, None]], dim=1)
    more[1, 6] = -torch.inf
    expected = cross_entropy(more, torch.arange(3), reduction="sum") + last
    assert once.item() == pytest.approx(cross_entropy(scores, torch.arange(3), reduction="sum").item(), rel=1e-4)
    assert twice.item() == pytest.approx(expected.item(), rel=1e-4)


def test_accumulated_batches_give_the_mean_over_all_queries(bench: Bench, encoder_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_for(bench, encoder_folder, in_batch_negatives=False)
    for module in recipe.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = rows_of(recipe, RANKINGS[:4])
    torch.autograd.backward(recipe.loss(recipe.model, recipe.collate(rows)) / 4)
    expected = gradients(recipe)

    found = applied(recipe, rows, tmp_path, batch_size=2, accumulation=2)

    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=2e-6), name


def test_the_export_loads_in_sentence_transformers_as_it_is(bench: Bench, encoder_folder: Path) -> None:
    plan_for(bench, "Embedding", hyperparameters={"learning_rate": 0.01})

    _, sink = bench.run()

    (output,) = sink.last.outputs
    folder = bench.path(output.uri)
    assert output.kind == "full"
    assert {"modules.json", "1_Pooling/config.json", "config_sentence_transformers.json", "tokenizer.json"} <= {
        file.path for file in output.files
    }
    base, trained = (
        SentenceTransformer(str(path), device="cpu", local_files_only=True) for path in (encoder_folder, folder)
    )
    assert trained.max_seq_length == base.max_seq_length == 256
    before, after = base.encode(["capital of France", "Paris"]), trained.encode(["capital of France", "Paris"])
    assert before.shape == after.shape == (2, 128)
    assert abs(before - after).max() > 0.01
    # In the base's own words: what loads that loads this.
    described = [path for path in encoder_folder.rglob("*.json") if DESCRIPTIONS.fullmatch(_name(path, encoder_folder))]
    assert len(described) == 4
    for path in described:
        assert path.read_bytes() == (folder / _name(path, encoder_folder)).read_bytes()


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


@pytest.mark.parametrize("chosen", [{"in_batch_negatives": False}, {"batch_size": 1}])
def test_where_no_document_is_wrong_there_is_nothing_to_train(bench: Bench, chosen: dict[str, Any]) -> None:
    lonely = [{"query": "the fox", "docs": [{"text": "jumps", "label": 1}]}] * 2
    plan_for(bench, "Embedding", training=(bench.dataset(samples=lonely),), hyperparameters=chosen)

    _, sink = bench.run()

    assert sink.last.failure is not None
    assert (sink.last.failure.reason, sink.last.failure.party) == ("nothing-to-train", "user")


def test_a_model_that_names_code_of_its_own_is_refused(bench: Bench) -> None:
    described = bench.root / "base-models/tiny-encoder/1/modules.json"
    modules = json.loads(described.read_text())
    modules[1]["type"] = "os.system"
    described.write_text(json.dumps(modules))
    plan_for(bench, "Embedding")

    _, sink = bench.run()

    assert sink.last.failure is not None
    assert (sink.last.failure.reason, sink.last.failure.retryable) == ("model-refused", False)
    assert "os.system" in sink.last.failure.message
