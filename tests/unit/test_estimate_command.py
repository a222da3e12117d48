"""``worker estimate``: exit codes, what people and programs read, and the laws of the fee."""

import json
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from contracts.quote import Quote
from handlers.planning.build import FORMATS
from tests.fakes.world import form
from worker.catalog import load_catalog
from worker.cli import app
from worker.estimate import estimating
from worker.tokens.encoder import SampleEncoder
from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_encoder_tokenizer import tiny_encoder_tokenizer
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.validate.model import find_model

pytestmark = pytest.mark.usefixtures("here")

PRICE = Fraction("0.0001")
ENCODER = SampleEncoder(tiny_tokenizer())


def sample(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


SAMPLES = [sample(f"{number}?", f"多少关心事 {number}") for number in range(12)]
LONG = sample("?", "long " * 600)


def lines(samples: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in samples)


def tokens(samples: list[dict[str, Any]]) -> int:
    """Count by brute force: what the trainer makes of one sample after the other."""
    return sum(ENCODER.encode("sft", [each])[0].total for each in samples)


def estimate(*arguments: str, **changes: Any) -> Result:
    Path("form.json").write_text(json.dumps(form("t-1", "d-1", **changes)))
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["estimate", "form.json", *arguments])


def write(name: str, samples: list[dict[str, Any]], more: str = "") -> None:
    Path(name).write_text(lines(samples) + more)


def test_the_fee_is_that_of_the_trainer_s_own_tokens() -> None:
    write("a.jsonl", SAMPLES)
    result = estimate("--dataset", "d-1=a.jsonl", hyperparameters={"epochs": 3})
    total = tokens(SAMPLES)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines()[0].startswith(f"user d-1: 12 samples, {total:,} tokens x 3 epochs x 0.0001")
    assert f"for {3 * total:,} tokens of tiny@1, LoRA, prices of 2026-01" in result.stdout.splitlines()[1]


def test_programs_read_one_object() -> None:
    write("a.jsonl", SAMPLES)
    result = estimate("--dataset", "d-1=a.jsonl", "--json", hyperparameters={"epochs": 1})
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (0, "")
    assert found.keys() == {"quote", "faults", "problems", "notes"}
    assert found["quote"]["complete"]
    assert Fraction(found["quote"]["amount"]) == tokens(SAMPLES) * PRICE / 1000


def test_several_files_and_directories_are_one_dataset() -> None:
    Path("more").mkdir()
    write("a.jsonl", SAMPLES[:5])
    write("more/b.jsonl", SAMPLES[5:9])
    write("more/c.jsonl", SAMPLES[9:])
    result = estimate("--dataset", "d-1=a.jsonl", "--dataset", "d-1=more/", "--json")
    (item,) = json.loads(result.stdout)["quote"]["items"]
    assert (item["samples"], item["tokens"]) == (12, tokens(SAMPLES))


def test_the_model_s_own_tokenizer_in_the_bucket_is_the_one_that_counts(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = here / "bucket"
    folder = bucket / "base-models" / "tiny" / "1"
    folder.mkdir(parents=True)
    template = (
        b"{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    )
    shorter = tiny_tokenizer()._replace(chat_template=template)
    write_tokenizer(shorter, folder)
    monkeypatch.setenv("WORKER_STORAGE_URL", bucket.as_uri())
    write("a.jsonl", SAMPLES)
    (item,) = json.loads(estimate("--dataset", "d-1=a.jsonl", "--json").stdout)["quote"]["items"]
    expected = sum(each.total for each in SampleEncoder(shorter).encode("sft", SAMPLES))
    assert item["tokens"] == expected < tokens(SAMPLES)


def test_what_is_too_long_is_not_billed_and_named() -> None:
    write("a.jsonl", [*SAMPLES, LONG])
    result = estimate("--dataset", "d-1=a.jsonl")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"user d-1: 12 samples, {tokens(SAMPLES)} tokens")
    assert "dataset d-1: 1 of its samples are longer than the model's context, and left out" in result.stderr


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        ({"base_model": None}, "", "the fee is not known: base_model"),
        ({"base_model": {"custom_model_id": "m-1"}}, "", "form: base_model.custom_model_id: an exported model can"),
        ({"hyperparameters": {"epochs": 0}}, "", "form: hyperparameters.epochs: "),
        ({"name": "not allowed!"}, "", "form: name: "),
        (
            {},
            "{broken\n",
            "is not known: dataset d-1: 1 of 13 samples are invalid (invalid-json); mend or tolerate them; w",
        ),
    ],
)
def test_what_would_be_refused_or_is_missing_is_exit_code_1(changes: dict[str, Any], more: str, said: str) -> None:
    write("a.jsonl", SAMPLES, more)
    result = estimate("--dataset", "d-1=a.jsonl", **changes)
    assert result.exit_code == 1
    assert result.output.count(said) == 1
    assert result.output.count("worker validate shows where") == (more != "")


def test_a_problem_of_the_data_is_said_where_the_fee_does_not_say_it() -> None:
    write("a.jsonl", SAMPLES)
    write("b.jsonl", SAMPLES, "{broken\n")
    validation = {"enabled": True, "dataset_ids": ["d-2"]}
    paths = ("--dataset", "d-1=a.jsonl", "--dataset", "d-2=b.jsonl")
    assert "dataset d-2: 1 of 13 samples are invalid" in estimate(*paths, validation=validation).output
    assert json.loads(estimate(*paths, "--json", validation=validation).stdout)["problems"]


def test_a_misspelt_field_is_said_and_refuses_nothing() -> None:
    write("a.jsonl", SAMPLES)
    result = estimate("--dataset", "d-1=a.jsonl", "--json", hyperparameter={"epochs": 1})
    note = "hyperparameter: is not known, and is ignored; did you mean 'hyperparameters'?"
    assert (result.exit_code, json.loads(result.stdout)["notes"]) == (0, [note])
    assert note in estimate("--dataset", "d-1=a.jsonl", hyperparameter={"epochs": 1}).stderr


def test_of_a_form_that_names_no_known_model_it_is_said_that_hyperparameters_were_not_judged() -> None:
    write("a.jsonl", SAMPLES)
    wrong: dict[str, Any] = {"hyperparameters": {"epochs": 0, "epoch": 1}}
    unjudged = "the hyperparameters depend on it, and were not judged"
    unknown = {"foundation": {"name": "tyni", "version": "1"}}
    for changes in ({"base_model": unknown}, {"training_type": "FinetuneLora"}):
        result = estimate("--dataset", "d-1=a.jsonl", "--json", **wrong, **changes)
        (fault,) = json.loads(result.stdout)["faults"]
        assert fault["message"].endswith(unjudged)
    assert unjudged not in estimate("--dataset", "d-1=a.jsonl", base_model=unknown).output
    assert len(json.loads(estimate("--dataset", "d-1=a.jsonl", "--json", **wrong).stdout)["faults"]) == 2


def test_what_a_form_tolerates_is_no_problem_and_a_name_may_come_later() -> None:
    write("a.jsonl", SAMPLES, "{broken\n")
    result = estimate("--dataset", "d-1=a.jsonl", tolerance={"max_invalid_records": 1}, name=None)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "add --dataset d-1=PATH"),
        (("--dataset", "d-1=nowhere.jsonl"), "nowhere.jsonl: No such file or directory"),
        (("--dataset", "d-1"), "must be ID=PATH"),
    ],
)
def test_what_could_not_be_done_is_exit_code_2(arguments: tuple[str, ...], said: str) -> None:
    result = estimate(*arguments, "--json")
    assert result.exit_code == 2
    assert said in result.stderr
    assert json.loads(result.stdout)["quote"] is None
    assert said in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("body", ["{", "[]", '{"training_set": []}'])
def test_a_form_that_says_nothing_is_exit_code_2(body: str) -> None:
    Path("form.json").write_text(body)
    assert CliRunner().invoke(app, ["estimate", "form.json"]).exit_code == 2
    assert CliRunner().invoke(app, ["estimate", "missing.json"]).exit_code == 2


def test_a_form_without_data_is_told_everything_else_that_is_wrong_with_it() -> None:
    faulty: dict[str, Any] = {"name": "two words", "output_count": 11, "hyperparameters": {"epochs": 0}, "nme": 1}
    result = estimate("--json", training_set=[], **faulty)
    said = json.loads(result.stdout)
    assert (result.exit_code, said["quote"]) == (2, None)
    assert said["error"].startswith("the form has no training_set that can be used")
    fields = ["name", "training_set", "output_count", "hyperparameters.epochs"]
    assert [fault["field"] for fault in said["faults"]] == fields
    assert [note.partition(":")[0] for note in said["notes"]] == ["nme"]
    lines = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines if line.startswith("form: ")] == fields
    assert lines[-1].startswith("worker estimate: the form has no training_set")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
FILES = st.lists(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), min_size=1, max_size=3)


def preference(chosen: str, rejected: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "chosen": chosen, "rejected": rejected}]
    }


#: Of each way of training: its model, and a sample of two texts.
WAYS: dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]] = {
    "FinetuneSft": ("tiny", sample),
    "Pretrain": ("tiny", lambda one, other: {"text": one + other}),
    "DPOLoRA": ("tiny", preference),
    "Embedding": (
        "tiny-encoder",
        lambda query, found: {"query": query, "docs": [{"text": found, "label": 1}, {"text": "no", "label": 0}]},
    ),
}


@pytest.fixture
def made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tokenizers of the tiny models made once, not at each estimate."""
    monkeypatch.setattr(estimating, "find_model", lru_cache(find_model))


@pytest.mark.usefixtures("made_once")
@pytest.mark.parametrize("training_type", WAYS)
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES, st.integers(1, 9))
def test_a_fee_is_the_brute_force_count_never_negative_additive_over_files_and_monotone_in_epochs(
    training_type: str, files: list[list[tuple[str, str]]], epochs: int
) -> None:
    model, make = WAYS[training_type]
    base = {"foundation": {"name": model, "version": "1"}}

    def priced(names: list[str], epochs: int) -> Quote:
        asked = form("t-1", "d-1", training_type=training_type, base_model=base, hyperparameters={"epochs": epochs})
        return estimating.estimated(json.dumps(asked).encode(), {"d-1": names}, load_catalog()).quote

    names = [f"{number}.jsonl" for number in range(len(files))]
    samples = [[make(*pair) for pair in pairs] for pairs in files]
    for name, each in zip(names, samples, strict=True):
        write(name, each)

    whole = priced(names, epochs)
    parts = [priced([name], epochs) for name in names]
    longer = priced(names, epochs + 1)

    encoder = ENCODER if model == "tiny" else SampleEncoder(tiny_encoder_tokenizer())
    count = sum(encoder.encode(FORMATS[training_type], [each])[0].total for file in samples for each in file)
    assert whole.complete
    assert whole.price_per_1k_tokens is not None
    assert Fraction(whole.amount or "") == count * epochs * Fraction(whole.price_per_1k_tokens) / 1000 >= 0
    assert Fraction(whole.amount or "") == sum(Fraction(part.amount or "") for part in parts)
    assert Fraction(longer.amount or "") >= Fraction(whole.amount or "")
