"""What is left of a GGUF file once it is in the bucket, or is not: nothing on the trainer's disk."""

from pathlib import Path

import pytest

from contracts.gguf import GGUF_FILE, Gguf
from tests.fakes.gguf import converter, gguf
from worker.settings import Settings
from worker.trainer.bucket import digest_of, open_bucket
from worker.trainer.converter import Converter
from worker.trainer.gguf import leave_gguf


@pytest.mark.parametrize("body", [gguf(), gguf()[:-1]], ids=["made", "cut"])
def test_the_disk_is_as_before(tmp_path: Path, body: bytes) -> None:
    whole, root = tmp_path / "scratch" / "step-1", tmp_path / "bucket"
    whole.mkdir(parents=True)
    script = converter(tmp_path, f"given.outfile.write_bytes({body!r})")
    with open_bucket(Settings(storage_url=root.as_uri())) as bucket:
        said, files = leave_gguf(bucket, "out/", whole, type="f32", converter=Converter(script, 60, lambda: True))
    assert [path.name for path in whole.parent.rglob("*")] == ["step-1"]
    if body == gguf():
        assert said == Gguf(status="made", type="f32", path=GGUF_FILE)
        assert files == [digest_of(root / "out" / GGUF_FILE)]
    else:
        assert (said.status, said.reason, files) == ("not-made", "unusable", [])
        assert not (root / "out" / GGUF_FILE).exists()
