"""The probe: left with every output, repeated by a fresh process, and by nothing but the same model."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from contracts.probe import PROBE_FILE, Probe
from contracts.training import Output
from handlers import layout
from handlers.manifests import MANIFEST
from tests.exported import export
from tests.trainer.bench import Bench
from tests.trainer.formats import plan_for
from worker.cli import app
from worker.trainer import proof
from worker.trainer.job import Ending
from worker.trainer.probe import SAMPLES, compared, probe_of, repeated

pytestmark = [
    pytest.mark.trainer,
    # Each verification is a process that imports torch and its relatives: half a minute where others have the cores.
    pytest.mark.timeout(400),
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


def exported(bench: Bench, output: Output) -> Path:
    """Put an output into the repository as the export stage does, and return where it is."""
    folder = bench.root / layout.model("m")
    shutil.copytree(bench.path(output.uri), folder)
    return described(folder, output)


def described(folder: Path, output: Output) -> Path:
    """Write a manifest of what is in a folder now."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    return export(folder, files, kind=output.kind, probe=output.probe)


def verified(bench: Bench, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setenv("WORKER_STORAGE_URL", bench.root.as_uri())
    result = CliRunner().invoke(app, ["models", "verify", "m", "--json", *options])
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def bench(both_models: Path) -> Bench:
    bench = Bench(both_models)
    bench.state()
    return bench


def test_an_adapter_and_its_merged_weights_say_the_same_and_load_as_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_for(bench, "FinetuneLoRA", hyperparameters={"merge": True, "learning_rate": 0.02, "epochs": 3})

    ending, sink = bench.run()

    assert ending is Ending.DONE
    (output,) = sink.last.outputs
    assert output.probe is not None
    assert output.probe.merged_difference is not None
    assert output.probe.merged_difference < 1e-4
    assert output.versions.keys() >= {"finetune-worker", "torch", "transformers", "peft", "python"}
    folder = exported(bench, output)
    merged: Any = AutoModelForCausalLM.from_pretrained(folder / "merged", local_files_only=True)
    assert not isinstance(merged, PeftModel)
    assert str(bench.root) not in (folder / "merged/config.json").read_text()
    base = bench.root / "base-models/tiny/1"
    probe = msgspec.json.decode((folder / PROBE_FILE).read_bytes(), type=Probe)
    assert repeated(probe, base).difference > 0.1, "what was trained is seen"

    code, verdict = verified(bench, monkeypatch)
    assert (code, verdict["problems"], verdict["unchecked"]) == (0, [], [])
    assert verdict["difference"] <= probe.tolerance
    # Without a base nothing can be said of an adapter; with another one it is another model.
    shutil.move(base, bench.root / "elsewhere")
    code, verdict = verified(bench, monkeypatch)
    assert (code, verdict["problems"]) == (2, [])
    assert "give --base FOLDER" in verdict["unchecked"][0]

    # Whoever can change weights can change the manifest, too: then they are loaded, and say something else.
    weights = load_file(folder / "merged/model.safetensors")
    weights["model.norm.weight"] *= 1.01
    save_file(weights, folder / "merged/model.safetensors", metadata={"format": "pt"})
    described(folder, output)
    code, verdict = verified(bench, monkeypatch, "--base", str(bench.root / "elsewhere"))
    assert code == 1
    assert [problem["code"] for problem in verdict["problems"]] == ["probe-differs"] * 3
    assert all(problem["message"].startswith("merged/: sample") for problem in verdict["problems"])


@pytest.mark.parametrize("training_type", ["Pretrain", "DPO", "Embedding"])
def test_every_format_leaves_a_probe_that_its_model_repeats_and_its_base_does_not(
    bench: Bench, training_type: str
) -> None:
    plan = plan_for(bench, training_type, hyperparameters={"learning_rate": 0.01})

    _, sink = bench.run()

    (output,) = sink.last.outputs
    probe = msgspec.json.decode((bench.path(output.uri) / PROBE_FILE).read_bytes(), type=Probe)
    assert probe.format == {"Pretrain": "pretrain", "DPO": "sft", "Embedding": "ranking"}[training_type]
    assert [case.sample for case in probe.cases] == list(SAMPLES[probe.format])
    assert output.probe is not None
    assert (output.probe.tolerance, output.probe.merged_difference) == (probe.tolerance, None)
    assert repeated(probe, bench.path(output.uri)).faults == ()
    assert len(repeated(probe, bench.root / plan.base_prefix).faults) == len(probe.cases)


def test_a_model_that_cannot_be_loaded_is_broken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_for(bench, "FinetuneSft")
    _, sink = bench.run()
    folder = exported(bench, sink.last.outputs[0])
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight[:1] for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    described(folder, sink.last.outputs[0])

    code, verdict = verified(bench, monkeypatch)

    assert (code, [problem["code"] for problem in verdict["problems"]]) == (1, ["unloadable"])


def test_merged_weights_that_differ_fail_the_job(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "write_merged", lambda base, _, target: shutil.copytree(base, target))
    plan_for(bench, "FinetuneLoRA", hyperparameters={"merge": True, "learning_rate": 0.02})

    ending, sink = bench.run()

    assert ending is Ending.FAILED
    assert sink.last.failure is not None
    assert (sink.last.failure.reason, sink.last.failure.retryable) == ("merge-differs", False)


def test_other_tokens_and_what_is_no_number_are_no_repetition(tiny_folder: Path) -> None:
    probe = probe_of(tiny_folder, "sft")
    case = probe.cases[0]
    (sequence,) = case.sequences

    def with_sequence(**changes: Any) -> tuple[str, ...]:
        changed = msgspec.structs.replace(sequence, **changes)
        others = [msgspec.structs.replace(case, sequences=(changed,)), *probe.cases[1:]]
        return compared(probe, others).faults

    assert compared(probe, probe.cases).faults == ()
    assert with_sequence(ids=(*sequence.ids[:-1], 1)) == ("sample 1 is read as other tokens",)
    values = sequence.values
    assert with_sequence(values=(values[0] + 0.9e-3, *values[1:])) == ()
    assert len(with_sequence(values=(values[0] + 1.1e-3, *values[1:]))) == 1
    assert len(with_sequence(values=(float("nan"), *values[1:]))) == 1
    assert len(with_sequence(values=values[1:])) == 1


def test_a_template_that_refuses_the_samples_has_its_model_asked_plain_texts(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strict"
    shutil.copytree(tiny_folder, folder)
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only of my own kind') }}")
    assert probe_of(folder, "sft").format == "pretrain"
