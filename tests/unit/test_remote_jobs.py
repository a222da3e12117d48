"""What jobs on other machines are called, and what their trainers are told."""

import re
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from handlers.ports.jobs import JobSpec, Resources
from worker.executors.remote import SPEC_VARIABLE, engine_name, spec_digest, trainer_environment
from worker.settings import Settings

SPEC = JobSpec(job_id="t", task_id="t", attempt=1, plan_key="p", attempt_prefix="a/", resources=Resources(gpus=2))
SETTINGS = Settings(
    kafka_bootstrap_servers="kafka:9092", kafka_username="u", kafka_password="planted", storage_url="s3://b"
)


def test_a_job_is_told_its_spec_and_where_bucket_and_brokers_are() -> None:
    told = trainer_environment(SETTINGS, SPEC)
    assert msgspec.json.decode(told[SPEC_VARIABLE], type=JobSpec) == SPEC
    assert told["WORKER_STORAGE_URL"] == "s3://b"
    assert told["WORKER_KAFKA_BOOTSTRAP_SERVERS"] == "kafka:9092"


def test_a_job_that_speaks_over_the_bucket_is_not_told_where_brokers_are() -> None:
    told = trainer_environment(msgspec.structs.replace(SETTINGS, trainer_events="bucket"), SPEC)
    assert Settings.from_environment(told).trainer_events == "bucket"
    assert told["WORKER_STORAGE_URL"] == "s3://b"
    assert "kafka:9092" not in str(told)


def test_no_secret_and_no_path_of_the_worker_leaves_its_machine() -> None:
    paths = [field for field, kind in get_type_hints(Settings).items() if "Path" in str(kind)]
    here = msgspec.structs.replace(SETTINGS, **{field: Path(f"/here/{field}") for field in paths})
    told = trainer_environment(here, SPEC)
    assert len(paths) >= 9
    assert "planted" not in str(told)
    assert "/here" not in str(told)


def test_specs_that_differ_in_anything_have_other_digests() -> None:
    assert spec_digest(SPEC) == spec_digest(msgspec.structs.replace(SPEC))
    assert spec_digest(SPEC) != spec_digest(msgspec.structs.replace(SPEC, resources=Resources(gpus=1)))


@pytest.mark.parametrize(
    ("job_id", "begins"),
    [("task-1", "ft-task-1-2-"), ("Task_1.A", "ft-task-1-a-2-"), ("任务", "ft-2-"), ("a" * 128, f"ft-{'a' * 16}-2-")],
)
def test_a_name_is_readable_where_it_can_be(job_id: str, begins: str) -> None:
    assert engine_name("me", job_id, 2).startswith(begins)


@given(some.text(min_size=1), some.integers(1, 9999))
def test_a_name_is_one_that_every_engine_allows(job_id: str, attempt: int) -> None:
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", engine_name("me", job_id, attempt))
    assert len(engine_name("me", job_id, attempt)) <= 41


Handles = some.lists(
    some.tuples(some.text("aA1-._", max_size=4), some.text("aA1-._", max_size=4), some.integers(1, 20)), unique=True
)


@given(Handles)
def test_no_two_jobs_share_a_name(handles: list[tuple[str, str, int]]) -> None:
    assert len({engine_name(*handle) for handle in handles}) == len(handles)
