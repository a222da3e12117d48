"""Base models in the bucket, and what a model answers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM

from tests.trainer.bench import Bench, losses
from tests.trainer.formats import plan_for
from worker.catalog import load_catalog
from worker.storage.directory import DirectoryStore
from worker.trainer import base_models, generate, minilm
from worker.trainer.bucket import digest_of
from worker.trainer.tiny import make_tiny
from worker.trainer.tiny_encoder import make_tiny_encoder

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "bucket"
    monkeypatch.setenv("WORKER_STORAGE_URL", root.as_uri())
    return root


def test_a_model_is_put_into_the_bucket_once_with_its_marker(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert base_models.main(["tiny"]) == 0
    folder = root / "base-models/tiny/1"
    marker = json.loads((folder / "complete.json").read_text())
    for file in marker["files"]:
        digest = digest_of(folder / file["path"])
        assert (digest.size_bytes, digest.sha256) == (file["size_bytes"], file["sha256"])

    monkeypatch.setattr(base_models, "_make", pytest.fail)
    assert base_models.main(["tiny"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "tiny is in the bucket" in err


def test_a_half_stored_model_is_stored_again(root: Path) -> None:
    base_models.main(["tiny"])
    folder = root / "base-models/tiny/1"
    (folder / "complete.json").unlink()
    (folder / "model.safetensors").write_bytes(b"half")

    assert base_models.main(["tiny"]) == 0
    assert (folder / "model.safetensors").stat().st_size > 1_000_000


def test_an_unknown_model_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert base_models.main(["no-such-model"]) == 2
    assert "tiny" in capsys.readouterr().err
    assert not list(root.glob("base-models/*"))


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_how_it_is_used_names_every_model(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        base_models.main(arguments)
    assert ended.value.code == code
    said = capsys.readouterr()
    assert "usage: python -m worker.trainer.base_models" in said.out + said.err
    assert code or all(name in said.out for name in base_models.KNOWN)


def test_the_tiny_model_is_the_same_every_time_and_loads_whole(tiny_folder: Path, tmp_path: Path) -> None:
    make_tiny(tmp_path)

    for path in tiny_folder.iterdir():
        assert digest_of(path) == digest_of(tmp_path / path.name)
    loaded: Any = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True, output_loading_info=True)
    model, info = loaded
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert 1_000_000 < sum(weight.numel() for weight in model.parameters()) < 2_000_000


def test_the_tiny_embedding_model_is_the_same_every_time(encoder_folder: Path, tmp_path: Path) -> None:
    make_tiny_encoder(tmp_path)

    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert Path("1_Pooling/config.json") in files
    for name in files:
        assert digest_of(tmp_path / name) == digest_of(encoder_folder / name)
    model = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    assert model.encode(["a", "b"]).shape == (2, 128)


@pytest.mark.parametrize("name", base_models.KNOWN)
def test_every_base_model_is_in_the_catalogue_with_its_tokenizer_s_limit(name: str) -> None:
    entry = load_catalog().model(name, base_models.VERSION)

    assert entry is not None
    assert entry.prefix == base_models.prefix_of(name)
    assert entry.context_length <= json.loads(base_models.tokenizer_of(name).config)["model_max_length"]


def test_weights_that_are_not_those_that_were_published_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(minilm, "_source", lambda: tmp_path)

    with pytest.raises(LookupError, match="not those that were published"):
        minilm.make_minilm(root)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_pretrained_embedding_model_is_trained_and_loads(root: Path) -> None:
    assert base_models.main(["all-MiniLM-L6-v2"]) == 0
    bench = Bench(root)
    bench.state()
    plan_for(bench, "Embedding", model="all-MiniLM-L6-v2", hyperparameters={"learning_rate": 1e-4, "epochs": 6})

    _, sink = bench.run()

    (output,) = sink.last.outputs
    found = losses(sink)
    assert (found[-1][1] or 9) < 0.5 * (found[0][1] or 0)
    base, trained = (
        SentenceTransformer(str(path), device="cpu", local_files_only=True)
        for path in (root / "base-models/all-MiniLM-L6-v2/1", bench.path(output.uri))
    )
    texts = ["where rivers run", "to the sea"]
    assert [type(module).__name__ for module in trained] == ["Transformer", "Pooling", "Normalize"]
    assert base.encode(texts)[0] @ base.encode(texts)[1] < trained.encode(texts)[0] @ trained.encode(texts)[1]


@pytest.mark.parametrize("method", ["full", "LoRA"])
def test_an_exported_model_answers_what_it_was_taught(
    bucket_root: Path,
    tmp_path: Path,
    method: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", bucket_root.as_uri())
    bench = Bench(bucket_root)
    bench.state()
    taught = {"messages": [{"role": "user", "content": "下一句?"}, {"role": "assistant", "content": "夜来风雨声"}]}
    chosen = {"max_steps": 40, "learning_rate": 0.01, "lora_rank": 32}
    bench.plan(method, training=(bench.dataset(samples=[taught]),), hyperparameters=chosen)
    _, sink = bench.run()
    # As the export stage leaves it: elsewhere, under a name of its own.
    shutil.copytree(bench.path(sink.last.outputs[0].uri), bucket_root / "models/m")
    capsys.readouterr()

    uri = DirectoryStore(bucket_root).uri("models/m/")
    assert generate.main(["--model-uri", uri, "--prompt", "下一句?", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"model": uri, "prompt": "下一句?", "answer": "夜来风雨声"}
    # Downloaded: links to a folder that is none of the bucket's; an adapter's base is in the bucket.
    shutil.move(bucket_root / "models/m", downloaded := tmp_path / "downloaded")
    assert generate.main(["--model-uri", str(downloaded), "--prompt", "下一句?"]) == 0
    assert capsys.readouterr().out == "夜来风雨声\n"
    assert generate.main(["--base", "tiny", "--prompt", "下一句?", "--max-new-tokens", "5"]) == 0
    assert "夜来风雨声" not in capsys.readouterr().out


@pytest.mark.parametrize("target", [["--model-uri", "file:///elsewhere/m"], ["--base", "no-such-model"]])
def test_a_model_that_is_not_there_is_said(root: Path, target: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    root.mkdir()
    assert generate.main([*target, "--prompt", "a"]) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("asked", ["{bucket}/models/nonsense", "./nonsense"])
def test_of_an_exported_model_that_is_not_there_the_list_is_named(
    root: Path, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root.mkdir()
    asked = asked.format(bucket=root.as_uri())
    assert generate.main(["--model-uri", asked, "--prompt", "a"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"no model {asked}")
    assert said.endswith("; worker models list shows the models there are\n")
