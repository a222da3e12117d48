"""What tells the jobs of deployments apart: workers of a bucket agree, two buckets never do."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.executors.namespace import namespace_of
from worker.settings import Settings, SettingsError


def of(storage_url: str, endpoint: str | None = None) -> str:
    return namespace_of(Settings(storage_url=storage_url, s3_endpoint_url=endpoint))


def test_workers_of_one_bucket_agree() -> None:
    assert of("s3://models/") == of("s3://models")
    assert of("s3://models", "http://s3:7070/") == of("s3://models", "http://s3:7070")
    one, other = (Settings(storage_url="s3://models", group_prefix=each, instance_id=each) for each in ("a", "b"))
    assert namespace_of(one) == namespace_of(other)


def test_two_buckets_differ_though_they_have_one_name() -> None:
    found = [
        of("s3://models"),
        of("s3://models", "http://a:7070"),
        of("s3://models", "http://b:7070"),
        of("file:///a/models"),
    ]
    assert len(set(found)) == 4
    assert all(re.fullmatch("models-[0-9a-f]{8}", each) for each in found)


@given(some.text(max_size=100), some.none() | some.text(max_size=20))
def test_whatever_the_bucket_is_called_it_is_a_namespace_that_could_be_set(bucket: str, endpoint: str | None) -> None:
    derived = of(bucket, endpoint)
    assert Settings.from_environment({"WORKER_JOB_NAMESPACE": derived}).job_namespace == derived


def test_what_is_set_holds() -> None:
    assert namespace_of(Settings(job_namespace="prod")) == "prod"


@pytest.mark.parametrize("given_", ["", "Prod", "a/b", "..", "-a", "a-", "a" * 41])
def test_what_no_engine_would_take_is_refused(given_: str) -> None:
    with pytest.raises(SettingsError, match="WORKER_JOB_NAMESPACE"):
        Settings.from_environment({"WORKER_JOB_NAMESPACE": given_})
