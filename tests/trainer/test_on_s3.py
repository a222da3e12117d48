"""The trainer on a real S3 server: data and base come out of it, weights go back into it part by part."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aioboto3
import msgspec
import pytest
from safetensors.torch import load_file

from handlers import layout
from tests import s3_servers
from tests.trainer.bench import TASK, Bench, RecordingSink, same
from worker.settings import Settings
from worker.storage.s3 import S3Store
from worker.trainer.bucket import open_bucket
from worker.trainer.job import Ending, run_job

pytestmark = [
    pytest.mark.trainer,
    pytest.mark.skipif(s3_servers.rung() is None, reason=f"S3: {s3_servers.description(None)}"),
]

_PART_BYTES = 5 << 20


@pytest.fixture
async def settings(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    rung = s3_servers.rung()
    assert rung is not None
    # What a tiny model has is below the usual size of a part.
    sizes = {"part_bytes": _PART_BYTES, "copied_bytes": _PART_BYTES}
    monkeypatch.setattr(S3Store.__init__, "__kwdefaults__", sizes)
    async with s3_servers.real_s3(rung) as access:
        for name, value in access.variables().items():
            monkeypatch.setenv(name, value)
        name = f"trainer-{uuid4().hex}"
        async with aioboto3.Session().client("s3", endpoint_url=access.url) as client:
            await client.create_bucket(Bucket=name)
        yield Settings(storage_url=f"s3://{name}/here", s3_endpoint_url=access.url, heartbeat_seconds=0.5)


@pytest.mark.timeout(300)
async def test_a_job_on_s3_ends_as_one_in_a_directory(settings: Settings, bucket_root: Path, tmp_path: Path) -> None:
    await asyncio.to_thread(_compared, settings, bucket_root, tmp_path)


def _compared(settings: Settings, bucket_root: Path, tmp_path: Path) -> None:
    bench = Bench(bucket_root)
    bench.state()
    plan = bench.plan(hyperparameters={"checkpoint_steps": 3}, output_count=2)
    _, here = bench.run()
    with open_bucket(settings) as bucket:
        for path in sorted((bucket_root / "base-models/tiny/1").iterdir()):
            bucket.upload(plan.base_prefix, path.name, path)
        (dataset,) = plan.training
        (file,) = dataset.files
        body = bench.path(file.uri).read_bytes()
        etag = bucket.patiently(lambda: bucket.store.put("uploads/a.jsonl", body))
        file = msgspec.structs.replace(file, uri=bucket.uri("uploads/a.jsonl"), etag=etag)
        dataset = msgspec.structs.replace(dataset, files=(file,))
        bucket.put(layout.task(TASK, "plan"), msgspec.json.encode(msgspec.structs.replace(plan, training=(dataset,))))
        bucket.put(
            layout.task(TASK, "state"), msgspec.json.encode({"attempt": 1, "desired": "run", "phase": "Running"})
        )

        sink = RecordingSink()
        assert run_job(bench.spec(), settings, sink, threading.Event()) is Ending.DONE

        assert [output.step for output in sink.last.outputs] == [6, 3]
        for there, output in zip(sink.last.outputs, here.last.outputs, strict=True):
            names = bucket.download(bucket.key(there.uri), tmp_path / str(there.step), lambda name: "/" not in name)
            assert {file.path for file in there.files} == set(names)
            assert same(load_file(tmp_path / str(there.step) / "model.safetensors"), bench.tensors(output.uri))
        # An ETag with a hyphen is one of an object that came in parts.
        large = [info for info in bucket.listed(layout.attempt(TASK, 1)) if info.size_bytes > _PART_BYTES]
        assert len(large) >= 4
        assert all("-" in info.etag for info in large)
