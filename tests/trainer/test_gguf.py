"""A GGUF file beside an output, by a stand-in for llama.cpp's converter: asked for, left or not, it fails no job."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.gguf import GGUF_FILE
from contracts.probe import PROBE_FILE, Probe
from contracts.training import Output
from handlers import layout
from tests.fakes.gguf import converter, gguf
from tests.trainer.bench import TASK, Bench
from tests.trainer.formats import plan_for
from worker.trainer.bucket import digest_of
from worker.trainer.job import Ending
from worker.trainer.probe import repeated

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.timeout(400),
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]

#: Fails where there are no weights of a whole model, as llama.cpp's does.
MAKES = f"(given.model / 'model.safetensors').stat(); given.outfile.write_bytes({gguf()!r})"


def left(bucket_root: Path, training_type: str, code: str | None, **hyperparameters: Any) -> tuple[Output, Path]:
    """Train, and return what was left, and where."""
    bench = Bench(bucket_root)
    bench.state()
    plan_for(bench, training_type, hyperparameters={"max_steps": 1, "gguf": "f16"} | hyperparameters)
    if code is not None:
        script = converter(bucket_root.parent, code)
        bench.settings = msgspec.structs.replace(bench.settings, gguf_converter=script)
    ending, sink = bench.run()
    assert ending is Ending.DONE
    (output,) = sink.last.outputs
    return output, bench.path(output.uri)


@pytest.mark.parametrize(
    ("training_type", "hyperparameters"),
    [("FinetuneSft", {}), ("FinetuneLoRA", {"merge": True})],
    ids=["whole", "merged"],
)
def test_a_whole_model_is_left_once_more_as_one_file(
    bucket_root: Path, training_type: str, hyperparameters: dict[str, Any]
) -> None:
    output, folder = left(bucket_root, training_type, MAKES, **hyperparameters)
    assert output.gguf is not None
    assert (output.gguf.status, output.gguf.type, output.gguf.path) == ("made", "f16", GGUF_FILE)
    assert (folder / GGUF_FILE).read_bytes() == gguf()
    assert digest_of(folder / GGUF_FILE) in output.files
    model = folder / "merged" if hyperparameters else folder
    probe = msgspec.json.decode((folder / PROBE_FILE).read_bytes(), type=Probe)
    assert repeated(probe, model).faults == (), "it loads as before, with the file beside it"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        file.path for file in output.files
    }


@pytest.mark.parametrize(
    ("training_type", "code", "reason", "words"),
    [
        ("FinetuneSft", None, "no-converter", "WORKER_GGUF_CONVERTER is not set"),
        ("FinetuneSft", "sys.exit('unknown pre-tokenizer')", "converter-failed", "unknown pre-tokenizer"),
        ("FinetuneLoRA", MAKES, "needs-merge", "merge must be on"),
    ],
)
def test_a_model_without_its_file_is_a_model_and_says_why(
    bucket_root: Path, training_type: str, code: str | None, reason: str, words: str
) -> None:
    output, folder = left(bucket_root, training_type, code)
    assert output.gguf is not None
    assert (output.gguf.status, output.gguf.reason, output.gguf.path) == ("not-made", reason, None)
    assert words in (output.gguf.message or "")
    assert not (folder / GGUF_FILE).exists()
    assert GGUF_FILE not in {file.path for file in output.files}


def test_a_job_that_is_told_to_end_meanwhile_gives_up_the_file_and_keeps_the_model(bucket_root: Path) -> None:
    state = bucket_root / layout.task(TASK, "state")
    pauses = f"""state = pathlib.Path({str(state)!r})
(given.outfile.parent / 'state').write_text(state.read_text().replace('"run"', '"pause"'))
os.replace(given.outfile.parent / 'state', state)
time.sleep(600)"""
    output, folder = left(bucket_root, "FinetuneSft", pauses)
    assert output.gguf is not None
    assert (output.gguf.status, output.gguf.reason) == ("not-made", "stopped")
    assert (folder / "model.safetensors").exists()


def test_who_asks_for_none_is_told_nothing_of_it(bucket_root: Path) -> None:
    output, _ = left(bucket_root, "FinetuneSft", MAKES, gguf="off")
    assert output.gguf is None
    assert GGUF_FILE not in {file.path for file in output.files}
