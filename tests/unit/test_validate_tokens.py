"""``worker validate --model``: exact token counts of the valid samples, and samples that are too long as findings."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.tokenizers import qwen_like, unigram
from worker.cli import app
from worker.tokens.encoder import SampleEncoder
from worker.tokens.files import TokenizerFiles
from worker.trainer import base_models
from worker.trainer.tiny import write_tokenizer
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.validate import tokens

pytestmark = pytest.mark.usefixtures("here")


def sample(answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "下一句是?"}, {"role": "assistant", "content": answer}]}


GOOD = [sample(f"answer {number} 多少关心事") for number in range(12)]
LONG = sample("long " * 400)
BAD = '{"messages": [{"role": "usr", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def text(*samples: dict[str, Any]) -> str:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in samples)


def validate(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["validate", *map(str, arguments)])


def as_json(*arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(validate(*arguments, "--json").stdout)
    return found


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def folder(path: Path, files: TokenizerFiles, **config: Any) -> Path:
    path.mkdir()
    write_tokenizer(files, path)
    if config:
        write(path / "config.json", json.dumps(config))
    return path


def test_the_tokens_are_those_of_the_encoder_without_invalid_and_long_samples(here: Path) -> None:
    path = write(here / "a.jsonl", text(*GOOD[:5]) + BAD + "\n" + text(LONG, *GOOD[5:]))
    encoded = SampleEncoder(tiny_tokenizer()).encode("sft", GOOD)

    result = validate(path, "--model", "tiny", "--json")

    assert (result.exit_code, result.stderr) == (1, "")
    found = json.loads(result.stdout)
    total, trained = sum(each.total for each in encoded), sum(each.trained for each in encoded)
    assert found["tokens"] == {
        "total": total,
        "trained": trained,
        "masked": total - trained,
        "longest": max(each.longest for each in encoded),
        "histogram": {"64": 12},
        "too_long": 1,
        "model": "tiny@1",
    }
    assert (found["valid"], found["samples"], found["valid_samples"]) == (False, 14, 12)
    assert found["totals"] == {"blank-line": 1, "sample-too-long": 1, "unknown-role": 1}
    assert [(each["line"], each["code"], each["severity"]) for each in found["findings"]][-1] == (
        8, "sample-too-long", "error",
    )  # fmt: skip
    assert list(here.iterdir()) == [path], "nothing is left behind, not even a bucket"


def test_a_sample_that_is_too_long_is_all_that_is_wrong_and_exit_code_1(here: Path) -> None:
    path = write(here / "a.jsonl", text(*GOOD, LONG))

    assert validate(path).exit_code == 0
    result = validate(path, "--model", "tiny@1")

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{path}:13 error sample-too-long ")
    assert "the model's context has 512" in lines[0]
    assert any(line.startswith("invalid: 12 of 13 samples valid") for line in lines)
    assert any(line.startswith("tokens for tiny@1: ") and "in 12 samples" in line for line in lines)
    assert any(line.split()[:3] == ["up", "to", "64"] and line.endswith(" 12") for line in lines)
    assert lines[-1] == "  left out: 1 sample longer than the model's context"


def test_without_a_model_nothing_is_counted(here: Path) -> None:
    path = write(here / "a.jsonl", text(*GOOD))
    assert as_json(path)["tokens"] is None
    assert "tokens" not in validate(path).stdout


def test_long_samples_are_capped_like_all_findings_and_the_report_has_them_all(here: Path) -> None:
    path = write(here / "a.jsonl", text(*[LONG] * 30, *GOOD) + BAD)
    report = here / "all.ndjson"

    found = as_json(path, "--model", "tiny", "--report", report, "--max-per-code", "2")

    assert found["totals"]["sample-too-long"] == 30
    assert sum(each["code"] == "sample-too-long" for each in found["findings"]) == 2
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert [each["line"] for each in written if each["code"] == "sample-too-long"] == list(range(1, 31))
    assert [each["line"] for each in written if each["code"] == "unknown-role"] == [43]
    assert "... and 28 more sample-too-long" in validate(path, "--model", "tiny", "--max-per-code", "2").stdout


def test_files_of_one_dataset_are_counted_together_and_strangers_are_not(here: Path) -> None:
    data = here / "data"
    data.mkdir()
    first, second = write(data / "a.jsonl", text(*GOOD)), write(data / "b.jsonl", text(LONG, *GOOD))
    write(data / "c.jsonl", '{"text": "孤灯照不寐"}\n' * 3)

    found = as_json(data, "--model", "tiny")

    assert found["tokens"]["total"] == 2 * as_json(first, "--model", "tiny")["tokens"]["total"]
    assert [each["file"] for each in found["findings"] if each["code"] == "sample-too-long"] == [str(second)]
    assert found["valid_samples"] == 24


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("pretrain", {"text": "春眠不觉晓" * 500}),
        ("ranking", {"query": "a", "docs": [{"text": "b", "label": 1}]}),
        ("preference", {"messages": [{"role": "user", "content": "a"},
                                     {"role": "assistant", "chosen": "b", "rejected": "c"}]}),
    ],
)  # fmt: skip
def test_every_format_is_counted(here: Path, format: Any, line: dict[str, Any]) -> None:
    found = as_json(write(here / "a.jsonl", text(*[line] * 10)), "--model", "tiny")

    (encoded,) = SampleEncoder(tiny_tokenizer()).encode(format, [line])
    assert found["format"] == format
    assert (found["tokens"]["total"], found["tokens"]["too_long"]) == (10 * encoded.total, 0)


def test_a_format_nobody_knows_has_no_tokens(here: Path) -> None:
    path = write(here / "a.jsonl", '{"prompt": "a"}\n' * 10)
    assert as_json(path, "--model", "tiny")["tokens"] is None
    assert "tokens: not counted" in validate(path, "--model", "tiny").stdout


def test_a_corrected_copy_is_what_is_counted(here: Path) -> None:
    one = text(GOOD[0]).strip()
    path = write(here / "a.jsonl", f"{one}{one}\n" * 6)

    found = as_json(path, "--model", "tiny", "--fix", here / "b.jsonl")

    assert (found["valid"], found["samples"]) == (True, 12)
    assert sum(found["tokens"]["histogram"].values()) == 12


# --- which model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 200}, 200),
        ({"text_config": {"max_position_embeddings": 200}, "max_position_embeddings": 9}, 200),
        ({}, None),
    ],
)
@pytest.mark.parametrize("files", [qwen_like, unigram])
def test_a_folder_is_a_model(here: Path, files: Any, config: dict[str, Any], context: int | None) -> None:
    model = folder(here / "model", files(), **config)
    path = write(here / "a.jsonl", text(*GOOD, LONG))

    found = as_json(path, "--model", model)

    assert found["tokens"]["model"] == str(model)
    assert found["tokens"]["too_long"] == (context is not None)
    kept = GOOD if context else [*GOOD, LONG]
    assert found["tokens"]["total"] == sum(each.total for each in SampleEncoder(files()).encode("sft", kept))


def test_a_folder_may_say_its_length_with_the_tokenizer_alone(here: Path) -> None:
    config = json.dumps({"model_max_length": 200}).encode()
    model = folder(here / "model", qwen_like()._replace(config=config))
    assert as_json(write(here / "a.jsonl", text(LONG)), "--model", model)["tokens"]["too_long"] == 1


def test_the_tokenizer_in_the_bucket_is_the_one_that_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = here / "bucket"
    (bucket / "base-models/tiny").mkdir(parents=True)
    folder(bucket / "base-models/tiny/1", qwen_like())
    monkeypatch.setenv("WORKER_STORAGE_URL", bucket.as_uri())
    path = write(here / "a.jsonl", text(*GOOD))

    expected = sum(each.total for each in SampleEncoder(qwen_like()).encode("sft", GOOD))
    assert as_json(path, "--model", "tiny")["tokens"]["total"] == expected


@pytest.mark.parametrize("name", ["nope", "tiny@2", "SmolLM2", "../elsewhere"])
def test_an_unknown_model_is_exit_code_2_and_the_known_ones_are_named(here: Path, name: str) -> None:
    result = validate(write(here / "a.jsonl", text(*GOOD)), "--model", name, "--json")

    assert result.exit_code == 2
    assert json.loads(result.stdout)["valid"] is None
    assert "SmolLM2-135M-Instruct@1, tiny@1" in result.stderr


def test_a_name_of_two_versions_must_say_which(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = "".join(
        f'[[models]]\nname = "tiny"\nversion = "{version}"\nprefix = "base-models/tiny/{version}/"\n'
        "context_length = 512\n"
        for version in (1, 2)
    )
    monkeypatch.setenv("WORKER_MODELS_FILE", str(write(here / "models.toml", models)))
    path = write(here / "a.jsonl", text(*GOOD))

    assert "tiny@1, tiny@2" in validate(path, "--model", "tiny").stderr
    assert validate(path, "--model", "tiny@1").exit_code == 0


def test_without_the_trainer_s_packages_it_is_said_what_helps(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> TokenizerFiles:
        raise LookupError("the package gguf is not installed: install the extra trainer")

    monkeypatch.setattr(base_models, "tokenizer_of", missing)
    result = validate(write(here / "a.jsonl", text(*GOOD)), "--model", "SmolLM2-135M-Instruct")

    assert result.exit_code == 2
    assert "install the extra trainer" in result.stderr
    assert "folder with tokenizer.json" in result.stderr


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_folder_without_a_usable_tokenizer_is_exit_code_2(here: Path, content: str | None) -> None:
    model = here / "model"
    model.mkdir()
    if content:
        write(model / "tokenizer.json", content)
    result = validate(write(here / "a.jsonl", text(*GOOD)), "--model", model)

    assert result.exit_code == 2
    assert "tokenizer.json" in result.stderr


def test_a_template_that_refuses_a_sample_names_its_line(here: Path) -> None:
    refusing = (
        "{% for m in messages %}{{ raise_exception('no!') if m.content == 'answer 3 多少关心事' }}{{ m.content }}"
        "{% endfor %}{{ 'assistant:' if add_generation_prompt }}"
    )
    model = folder(here / "model", qwen_like()._replace(chat_template=refusing.encode()))
    path = write(here / "a.jsonl", text(GOOD[3]))

    result = validate(path, "--model", model)

    assert result.exit_code == 2
    assert f"{path}, line 1: " in result.stderr
    assert "no!" in result.stderr


def test_a_pipe_cannot_be_counted() -> None:
    result = validate("/dev/null", "--model", "tiny")
    assert result.exit_code == 2
    assert "read only once" in result.stderr


def test_where_the_fast_tokenizer_is_distrusted_everything_is_counted_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        batches = 0

        def tokenize(self, texts: list[str]) -> Any:
            Failing.batches += 1
            if Failing.batches > 4:
                raise RuntimeError("out of luck")
            return SampleEncoder(tiny_tokenizer()).tokenizer.tokenize(texts)

    path = write(here / "a.jsonl", text(*[*GOOD, LONG] * 70))
    expected = as_json(path, "--model", "tiny")
    monkeypatch.setattr(SampleEncoder, "_fast", Failing())
    report = here / "all.ndjson"
    result = validate(path, "--model", "tiny", "--json", "--report", report)

    assert json.loads(result.stdout) == expected
    assert report.read_text().count('"sample-too-long"') == 70
    assert Failing.batches == 5
    assert "tokenizer.distrusted" in result.stderr
    assert expected["tokens"]["too_long"] == 70


def test_a_file_that_changes_meanwhile_is_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(here / "a.jsonl", text(*GOOD))
    left_out = tokens._left_out

    def change(*arguments: Any) -> Any:
        write(path, "not JSON\n")
        return left_out(*arguments)

    monkeypatch.setattr(tokens, "_left_out", change)
    result = validate(path, "--model", "tiny")

    assert result.exit_code == 2
    assert "changed while it was checked" in result.stderr
