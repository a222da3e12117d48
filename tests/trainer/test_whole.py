"""Training on from what was exported: whatever it is on, the trainer puts it together."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from contracts.probe import PROBE_FILE, Probe
from handlers import layout
from tests.exported import export
from tests.trainer.bench import Bench, losses
from worker.trainer.bucket import open_bucket
from worker.trainer.failures import JobError
from worker.trainer.probe import repeated
from worker.trainer.whole import fetch_whole

pytestmark = [
    pytest.mark.trainer,
    # peft asks transformers under a name that the next major version drops.
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    bench = Bench(bucket_root)
    bench.state()
    return bench


def trained(bench: Bench, name: str, on: str | None = None) -> tuple[Path, list[float]]:
    """Train an adapter, on an exported one or on the foundation; return where it is exported, and its losses."""
    prefix = {"base_prefix": layout.model(on)} if on else {}
    bench.plan("LoRA", hyperparameters={"learning_rate": 0.01, "epochs": 3}, **prefix)
    _, sink = bench.run()
    assert sink.last.failure is None, sink.last.failure
    folder = bench.root / layout.model(name)
    shutil.copytree(bench.path(sink.last.outputs[0].uri), folder)
    return folder, [loss or 0.0 for _, loss in losses(sink)]


def test_an_adapter_on_an_adapter_is_trained_on_from_and_put_together(bench: Bench, tmp_path: Path) -> None:
    first, begun = trained(bench, "first")
    second, gone_on = trained(bench, "second", on="first")

    # The same batch: where the second had begun from the foundation, it would have lost as much as the first.
    assert gone_on[0] < 0.9 * begun[0]
    bases = [
        json.loads((each / "adapter_config.json").read_text())["base_model_name_or_path"] for each in (first, second)
    ]
    assert bases == ["tiny@1", "first"]
    with open_bucket(bench.settings) as bucket:
        fetch_whole(bucket, layout.model("second"), tmp_path / "whole")
    probe = msgspec.json.decode((second / PROBE_FILE).read_bytes(), type=Probe)
    assert repeated(probe, tmp_path / "whole").faults == ()
    # Where a manifest says what an adapter is on, that holds: the catalogue may have a foundation anywhere.
    shutil.move(bench.root / "base-models/tiny/1", bench.root / "elsewhere")
    with open_bucket(bench.settings) as bucket, pytest.raises(JobError, match="base-models/tiny/1"):
        fetch_whole(bucket, layout.model("first"), tmp_path / "gone")
    files = {path.name: path.read_bytes() for path in first.iterdir()}
    export(first, files, kind="adapter", lineage={"base_prefix": "elsewhere/"})
    with open_bucket(bench.settings) as bucket:
        fetch_whole(bucket, layout.model("first"), tmp_path / "found")
    probe = msgspec.json.decode(files[PROBE_FILE], type=Probe)
    assert repeated(probe, tmp_path / "found").faults == ()


def test_adapters_on_each_other_are_no_model(bench: Bench, tmp_path: Path) -> None:
    for name, on in (("a", "b"), ("b", "a")):
        folder = bench.root / layout.model(name)
        folder.mkdir(parents=True)
        for file in ("tokenizer.json", "adapter_model.safetensors"):
            (folder / file).write_bytes(b"{}")
        (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": on}))
    with open_bucket(bench.settings) as bucket, pytest.raises(JobError, match="too many others"):
        fetch_whole(bucket, layout.model("a"), tmp_path / "whole")
