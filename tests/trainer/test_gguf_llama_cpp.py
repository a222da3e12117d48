"""llama.cpp's own converter (``make gguf``): what it makes says what the model says; what it refuses is said.

The file is read back by transformers, whose reading of GGUF is not llama.cpp's.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tests.trainer.bench import Bench
from tests.trainer.formats import plan_for
from worker.models.gguf_header import check_header
from worker.trainer import probe as probes
from worker.trainer.converter import Converter
from worker.trainer.job import Ending
from worker.trainer.probe import probe_of, repeated
from worker.trainer.smollm2 import make_smollm2

FETCHED = Path(__file__).parents[2] / ".gguf"
SCRIPT = FETCHED / "convert_hf_to_gguf.py"

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not (FETCHED / ".complete").is_file(), reason="needs llama.cpp's converter: make gguf"),
]


def test_a_pretrained_model_s_file_loads_and_repeats_its_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, made = tmp_path / "model", tmp_path / "made" / "model.gguf"
    folder.mkdir()
    make_smollm2(folder)
    probe = probe_of(folder, "sft")

    Converter(SCRIPT, 600, lambda: True).convert(folder, made, "f16")

    assert check_header(made) == 272

    def from_gguf(_: Path) -> PreTrainedModel:
        model: Any = AutoModelForCausalLM.from_pretrained(made.parent, gguf_file=made.name, dtype=torch.float32)
        assert isinstance(model, PreTrainedModel)
        return model

    monkeypatch.setattr(probes, "load_base", from_gguf)
    assert repeated(probe, folder).faults == ()
    text = "The quick brown fox, 123. 孤灯照不寐 <|im_start|>user\n"
    ours = AutoTokenizer.from_pretrained(folder)
    theirs = AutoTokenizer.from_pretrained(made.parent, gguf_file=made.name)
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused_by_name_and_the_job_succeeds(bucket_root: Path) -> None:
    bench = Bench(bucket_root)
    bench.settings = msgspec.structs.replace(bench.settings, gguf_converter=SCRIPT)
    bench.state()
    plan_for(bench, "FinetuneSft", hyperparameters={"max_steps": 1, "gguf": "f16"})

    ending, sink = bench.run()

    assert ending is Ending.DONE
    (output,) = sink.last.outputs
    assert output.gguf is not None
    assert output.gguf.reason == "converter-failed"
    assert "BPE pre-tokenizer was not recognized" in (output.gguf.message or "")
