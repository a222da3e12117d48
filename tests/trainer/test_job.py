"""A job from its spec to its last event: what it says, what it leaves, how it obeys."""

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from contracts.envelope import derived_id
from contracts.training import TrainingProgress
from handlers import layout
from tests.fakes.few_samples import SAMPLES
from tests.trainer.bench import TASK, Bench, built, losses, same
from worker.tokens.encoder import SampleEncoder
from worker.trainer.bucket import digest_of, open_bucket
from worker.trainer.fence import Fence
from worker.trainer.hyperparameters import hyperparameters_of
from worker.trainer.job import Ending
from worker.trainer.models import load_base
from worker.trainer.recipes import recipe_of
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.trainer.validation import Validation

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

_PICKLES = re.compile(r"\.(bin|pt|pth|pkl|pickle|ckpt)$")
HELD_OUT = [
    {"messages": [{"role": "user", "content": "fox"}, {"role": "assistant", "content": "lazy dog"}]},
    SAMPLES[0],
]


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    bench = Bench(bucket_root)
    bench.state()
    return bench


def validation_loss_of(bench: Bench, model: Any, scratch: Path) -> float | None:
    """Return what a model loses on HELD_OUT, measured anew."""
    with open_bucket(bench.settings) as bucket:
        plan = bench.plan(validation=(bench.dataset("held", HELD_OUT),))
        encoder = SampleEncoder(tiny_tokenizer())
        data = bucket.loop.run(built(bucket.store, plan, encoder, scratch))
        recipe = recipe_of(plan, hyperparameters_of(plan))
        return Validation(recipe, recipe.rows(data.reader, data.validation), 2, bf16=False).loss(model)


def test_a_job_tells_its_story_in_order_and_leaves_a_model_that_loads(bench: Bench, tmp_path: Path) -> None:
    bench.plan(validation=(bench.dataset("held", HELD_OUT),), hyperparameters={"learning_rate": 0.01, "epochs": 5})

    ending, sink = bench.run(bench.spec(first_seq=40))

    assert ending is Ending.DONE
    assert [said.state for said in sink.said] == ["deploying", *["running"] * 16, "succeeded"]
    assert [said.seq for said in sink.said] == list(range(40, 58))
    assert {event.source for event in sink.events} == {f"trainer/{TASK}"}
    assert sink.events[3].id == derived_id("trainer", TASK, 1, 43)
    assert sink.essential == [True, True, *[False] * 14, True, True]
    first, last = losses(sink)[0], losses(sink)[-1]
    assert first[0] == 1
    assert last[0] == 15
    assert first[1]
    assert last[1]
    assert last[1] < 0.7 * first[1]
    assert sink.said[16].checkpoint is not None

    (output,) = sink.last.outputs
    folder = bench.path(output.uri)
    assert output.kind == "full"
    assert output.uri == bench.store.uri(f"{layout.attempt(TASK, 1)}outputs/step-15/")
    assert {digest_of(path) for path in folder.iterdir()} == set(output.files)
    reloaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert output.validation_loss == validation_loss_of(bench, reloaded, tmp_path)


@pytest.mark.parametrize("method", ["full", "LoRA"])
def test_no_pickle_and_nothing_unknown_is_in_the_bucket_after_a_run(
    bench: Bench, method: Literal["full", "LoRA"]
) -> None:
    bench.plan(method, hyperparameters={"checkpoint_steps": 2})

    ending, sink = bench.run()

    assert ending is Ending.DONE
    files = bench.objects()
    assert [path for path in files if _PICKLES.search(path.name) or path.read_bytes()[:2] in (b"\x80\x02", b"PK")] == []
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".jinja", ".jsonl"}
    (output,) = sink.last.outputs
    names = {file.path for file in output.files}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    weights = {"adapter_model.safetensors", "adapter_config.json"} if method == "LoRA" else {"model.safetensors"}
    assert names >= tokenizer | weights
    assert not [name for name in names if "optimizer" in name or "training_args" in name]


def test_an_adapter_names_its_base_and_gives_the_same_loss_when_loaded_on_it(bench: Bench, tmp_path: Path) -> None:
    bench.plan(
        "LoRA",
        validation=(bench.dataset("held", HELD_OUT),),
        output_count=2,
        hyperparameters={"learning_rate": 0.01, "lora_rank": 4},
    )

    ending, sink = bench.run()

    assert ending is Ending.DONE
    best, other = sink.last.outputs
    assert best.kind == "adapter"
    assert best.validation_loss is not None
    assert other.validation_loss is not None
    assert best.step != other.step
    assert best.validation_loss <= other.validation_loss
    folder = bench.path(best.uri)
    assert '"base_model_name_or_path": "tiny@1"' in (folder / "adapter_config.json").read_text()
    base = load_base(bench.root / "base-models/tiny/1")
    loaded: Any = PeftModel.from_pretrained(base, folder)
    assert validation_loss_of(bench, loaded, tmp_path) == pytest.approx(best.validation_loss, rel=1e-6)


@pytest.mark.parametrize(
    ("method", "chosen", "step"),
    [
        # Three steps an epoch: 2 ends in the middle of one, 3 at its end.
        pytest.param("LoRA", {"lora_dropout": 0.2}, 1, id="adapter-with-dropout-mid-epoch"),
        pytest.param("full", {}, 2, id="full-at-the-end-of-an-epoch"),
        pytest.param("full", {"batch_size": 1, "gradient_accumulation": 4}, 1, id="full-accumulating"),
    ],
)
def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_weights(
    bench: Bench, method: Literal["full", "LoRA"], chosen: dict[str, Any], step: int
) -> None:
    bench.plan(method, hyperparameters=chosen)
    _, whole = bench.run()
    expected = bench.tensors(whole.last.outputs[0].uri)

    bench.state(attempt=2)
    ending, stopped = bench.run_until(step, bench.spec(2))
    assert ending is Ending.DONE
    assert stopped.last.state == "stopped"
    assert stopped.last.checkpoint is not None
    assert stopped.last.checkpoint.step == step + 1
    bench.state(attempt=3)
    ending, resumed = bench.run(bench.spec(3, resume_from=bench.store.key(stopped.last.checkpoint.uri)))

    assert ending is Ending.DONE
    assert losses(stopped) + losses(resumed) == losses(whole)
    assert same(bench.tensors(resumed.last.outputs[0].uri), expected)


def test_a_run_that_lacked_nothing_but_its_outputs_leaves_them_and_older_ones(bench: Bench) -> None:
    bench.plan(output_count=3)
    _, first = bench.run()
    checkpoint = [said.checkpoint for said in first.said if said.checkpoint][-1]
    bench.state(attempt=2)

    ending, second = bench.run(bench.spec(2, resume_from=bench.store.key(checkpoint.uri)))

    assert ending is Ending.DONE
    assert [said.state for said in second.said] == ["deploying", "succeeded"]
    assert [output.step for output in second.last.outputs] == [6, 4, 2]
    for old, new in zip(first.last.outputs, second.last.outputs, strict=True):
        assert layout.attempt(TASK, 2) in new.uri
        assert same(bench.tensors(old.uri), bench.tensors(new.uri))


def test_an_attempt_that_does_not_count_says_nothing(bench: Bench) -> None:
    bench.plan()
    bench.state(attempt=2)

    ending, sink = bench.run(bench.spec(1))

    assert ending is Ending.SUPERSEDED
    assert sink.events == []
    (bench.root / layout.task(TASK, "state")).unlink()
    assert bench.run(bench.spec(1))[0] is Ending.SUPERSEDED


def test_an_attempt_that_is_superseded_while_it_trains_ends_without_another_word(bench: Bench) -> None:
    bench.plan(hyperparameters={"max_steps": 100_000})

    def supersede(said: TrainingProgress) -> None:
        if said.progress and said.progress.step == 2:
            bench.state(attempt=2)

    ending, sink = bench.run(on_event=supersede)

    assert ending is Ending.SUPERSEDED
    assert sink.dropped
    assert {said.state for said in sink.said} == {"deploying", "running"}
    left = [path.name for path in (bench.root / layout.attempt(TASK, 1)).iterdir()]
    assert left == ["runner.json"], "that it was begun, and nothing else"


def test_a_task_that_should_not_run_is_not_begun(bench: Bench) -> None:
    bench.plan()
    bench.state(desired="stop")

    ending, sink = bench.run()

    assert ending is Ending.DONE
    assert [said.state for said in sink.said] == ["stopped"]
    assert sink.last.checkpoint is None


@pytest.mark.parametrize("desired", ["run", "pause"])
def test_a_copy_of_who_has_the_attempt_says_nothing_and_leaves_its_last_word(bench: Bench, desired: str) -> None:
    bench.plan()
    bench.state(desired=desired)
    held = bench.root / layout.runner(TASK, 1)
    last_word = bench.root / layout.last_word(TASK, 1)
    held.parent.mkdir(parents=True)
    held.write_bytes(b'{"nonce":"the first process"}')
    last_word.write_bytes(b"what it said")

    ending, sink = bench.copy()

    assert ending is Ending.SUPERSEDED
    assert sink.events == []
    assert last_word.read_bytes() == b"what it said"


def test_who_cannot_claim_the_attempt_ends_without_a_word(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.plan()

    async def refused(_: Any) -> None:
        raise RuntimeError("the bucket gives an answer without sense")

    monkeypatch.setattr(Fence, "claim", refused)
    ending, sink = bench.run()
    assert ending is Ending.FAILED
    assert sink.events == []
    assert not (bench.root / layout.last_word(TASK, 1)).exists()


def test_a_pause_leaves_a_complete_checkpoint(bench: Bench) -> None:
    bench.plan(hyperparameters={"max_steps": 100_000})

    def pause(said: TrainingProgress) -> None:
        if said.progress and said.progress.step == 2:
            bench.state(desired="pause")

    ending, sink = bench.run(on_event=pause)

    assert ending is Ending.DONE
    assert sink.last.state == "stopped"
    assert sink.last.checkpoint is not None
    assert sink.said[-2].checkpoint == sink.last.checkpoint
    assert sink.said[-2].state == "running"
    assert (bench.path(sink.last.checkpoint.uri) / "complete.json").exists()


def test_bf16_trains_too(bench: Bench) -> None:
    bench.plan(hyperparameters={"precision": "bf16", "max_steps": 2})

    ending, sink = bench.run()

    assert ending is Ending.DONE
    assert len(losses(sink)) == 3


def test_each_epoch_has_an_order_of_its_own_that_follows_from_the_seed(bench: Bench) -> None:
    def run(**fields: Any) -> list[tuple[int, float | None]]:
        bench.plan(hyperparameters={"batch_size": 1, "learning_rate": 1e-12, "epochs": 2}, **fields)
        return losses(bench.run()[1])

    def rounded(found: list[tuple[int, float | None]]) -> list[float]:
        return [round(loss or 0.0, 3) for _, loss in found[:12]]

    shuffled, again, other, plain = run(), run(), run(seed=8), run(shuffle="none")

    assert shuffled == again
    assert rounded(shuffled) != rounded(other)
    assert rounded(shuffled)[:6] != rounded(shuffled)[6:]
    assert sorted(rounded(shuffled)[:6]) == sorted(rounded(plain)[:6])
    assert rounded(plain)[:6] == rounded(plain)[6:]
