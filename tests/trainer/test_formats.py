"""Every training type, from plan to outputs: what holds for all of them."""

import re
from pathlib import Path
from typing import get_args

import pytest

from contracts.task import TrainingType
from handlers.planning.plan import Plan
from tests.fakes.few_samples import BY_FORMAT
from tests.trainer.bench import Bench, RecordingSink, losses, same
from tests.trainer.formats import plan_for
from worker.tokens.encoder import SampleEncoder
from worker.trainer.base_models import tokenizer_of
from worker.trainer.hyperparameters import hyperparameters_of
from worker.trainer.job import Ending
from worker.trainer.recipes import recipe_of

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

EVERY = get_args(TrainingType)
_PICKLE = re.compile(rb"\x80[\x02-\x05]|PK")


@pytest.fixture
def bench(both_models: Path) -> Bench:
    bench = Bench(both_models)
    bench.state()
    return bench


@pytest.mark.parametrize("training_type", EVERY)
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_weights(bench: Bench, training_type: str) -> None:
    plan = plan_for(bench, training_type)
    _, whole = bench.run()
    expected = bench.tensors(whole.last.outputs[0].uri)

    bench.state(attempt=2)
    # Stops with the second step, in the middle of the first epoch.
    ending, stopped = bench.run_until(1, bench.spec(2))
    assert ending is Ending.DONE
    assert stopped.last.checkpoint is not None
    assert stopped.last.checkpoint.step == 2
    bench.state(attempt=3)
    ending, resumed = bench.run(bench.spec(3, resume_from=bench.store.key(stopped.last.checkpoint.uri)))

    assert ending is Ending.DONE
    assert losses(stopped) + losses(resumed) == losses(whole)
    assert tokens_of(resumed) == tokens_of(whole) == brute_force_count(plan)
    assert tokens_of(stopped) == stopped.last.checkpoint.trained_tokens
    assert same(bench.tensors(resumed.last.outputs[0].uri), expected)


def tokens_of(sink: RecordingSink) -> int | None:
    """Return how many tokens a run says that it has trained on."""
    return [said.progress.trained_tokens for said in sink.said if said.progress][-1]


def brute_force_count(plan: Plan) -> int:
    """Return the tokens of all epochs, by encoding one sample after the other."""
    encoder, chosen = SampleEncoder(tokenizer_of(plan.base_model)), hyperparameters_of(plan)
    recipe = recipe_of(plan, chosen)
    samples = BY_FORMAT[plan.format]
    kept = [recipe.kept(sample, encoder.encode(plan.format, [sample])[0]) for sample in samples]
    return chosen.epochs * sum(len(sequence.ids) for each in kept for sequence in each.sequences)


@pytest.mark.parametrize("training_type", EVERY)
def test_no_pickle_is_in_the_bucket_after_a_run(bench: Bench, training_type: str) -> None:
    plan_for(bench, training_type, hyperparameters={"checkpoint_steps": 2})

    ending, _ = bench.run()

    assert ending is Ending.DONE
    assert [path for path in bench.objects() if _PICKLE.match(path.read_bytes()[:4])] == []
    assert {path.suffix for path in bench.objects()} <= {".json", ".safetensors", ".jinja", ".jsonl"}


@pytest.mark.parametrize("training_type", EVERY)
def test_less_memory_for_more_arithmetic_changes_nothing_but_the_time(bench: Bench, training_type: str) -> None:
    plain = {"max_steps": 2, "lora_dropout": 0.0}
    plan_for(bench, training_type, hyperparameters=plain)
    _, kept = bench.run()
    plan_for(bench, training_type, hyperparameters=plain | {"gradient_checkpointing": True})
    _, computed_again = bench.run()

    assert [loss for _, loss in losses(computed_again)] == pytest.approx([loss for _, loss in losses(kept)], rel=1e-6)


@pytest.mark.parametrize("training_type", EVERY)
def test_bfloat16_loses_about_the_same(bench: Bench, training_type: str) -> None:
    short = {"max_steps": 2, "lora_dropout": 0.0}
    plan_for(bench, training_type, hyperparameters=short)
    _, exact = bench.run()
    plan_for(bench, training_type, hyperparameters=short | {"precision": "bf16"})
    ending, rounded = bench.run()

    assert ending is Ending.DONE
    assert losses(rounded) != losses(exact)
    assert [loss for _, loss in losses(rounded)] == pytest.approx([loss for _, loss in losses(exact)], rel=0.05)
    # Weights are kept in full: only the arithmetic is rounded.
    assert {str(tensor.dtype) for tensor in bench.tensors(rounded.last.outputs[0].uri).values()} == {"torch.float32"}


@pytest.mark.parametrize("training_type", EVERY)
def test_every_step_says_how_it_went(bench: Bench, training_type: str) -> None:
    plan_for(bench, training_type, hyperparameters={"max_steps": 3})

    _, sink = bench.run()

    steps = [said.progress for said in sink.said if said.progress and not said.checkpoint and said.state == "running"]
    assert [step.step for step in steps] == [1, 2, 3]
    for step in steps:
        assert step.gradient_norm
        assert step.gradient_norm > 0
        assert step.tokens_per_second
        assert step.memory_bytes
        assert 50e6 < step.memory_bytes < 50e9
        assert step.learning_rate is not None
        # Nothing is known of what this machine's CPU can do.
        assert step.mfu is None
    assert [step.eta_seconds == 0 for step in steps] == [False, False, True]
