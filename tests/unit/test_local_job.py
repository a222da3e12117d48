"""A local job's directory, without any process."""

from pathlib import Path

import msgspec

from handlers.ports.jobs import JobSpec
from worker.executors.job_log import LOG_BYTES
from worker.executors.local_job import LocalJob


def test_a_log_is_read_in_pieces_and_never_splits_a_character(tmp_path: Path) -> None:
    job = LocalJob(tmp_path)
    text = "精调" * (LOG_BYTES // 4)
    job.log_path.write_bytes(text.encode() + "调".encode()[:2])
    read, cursor, calls = "", 0, 0
    while (piece := job.log(cursor))[0]:
        read, cursor, calls = read + piece[0], piece[1], calls + 1
    assert read == text
    assert calls == 2
    job.log_path.write_bytes(b"\xff\xfe\x80\x80\x80\x80 not UTF-8")
    assert job.log(0)[0].endswith(" not UTF-8")


def test_a_spec_on_disk_may_lack_fields_that_came_later(tmp_path: Path) -> None:
    spec = JobSpec(job_id="a", task_id="t", attempt=1, plan_key="p", attempt_prefix="x/")
    job = LocalJob(tmp_path / "a.1")
    job.create(spec, ticket=1)
    # What has its default is not written down, so nothing tells it from what was not known yet.
    assert msgspec.json.decode(job.spec_path.read_bytes()).keys().isdisjoint({"first_seq", "resources"})
    assert job.spec() == spec
