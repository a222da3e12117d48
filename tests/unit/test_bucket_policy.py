"""A role's policy, judged by what reads policies as AWS does (moto), over S3's own requests."""

from typing import Any

import boto3
import msgspec
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from worker.bucket_rights import policy

#: The requests that prepare the bucket and the user, before policies are judged.
_PREPARATIONS = 5
_KEY = "base-models/tiny/1/config.json"


def client(service: str, access_key: str = "administrator", secret_key: str = "any") -> Any:  # noqa: S107 - moto takes any
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id=access_key, aws_secret_access_key=secret_key
    )


def bucket_as(role: str) -> Any:
    """Return a client of a user who has a role's policy alone, of a bucket with one object."""
    client("s3").create_bucket(Bucket="bucket")
    client("s3").put_object(Bucket="bucket", Key=_KEY, Body=b"{}")
    identities = client("iam")
    identities.create_user(UserName=role)
    keys = identities.create_access_key(UserName=role)["AccessKey"]
    document = msgspec.json.encode(policy(role, "s3://bucket")).decode()
    identities.put_user_policy(UserName=role, PolicyName=role, PolicyDocument=document)
    return client("s3", keys["AccessKeyId"], keys["SecretAccessKey"])


def answer(s3: Any, request: str, key: str, **more: Any) -> str:
    """Return ``done``, or the code of S3's refusal."""
    try:
        getattr(s3, request)(Bucket="bucket", Key=key, **more)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


@mock_aws
@set_initial_no_auth_action_count(_PREPARATIONS)
def test_a_trainer_writes_under_attempts_and_outboxes_alone() -> None:
    s3 = bucket_as("trainer")
    assert answer(s3, "get_object", _KEY) == "done"
    assert answer(s3, "put_object", "tasks/t/attempts/1/last-word.json", Body=b"") == "done"
    assert answer(s3, "create_multipart_upload", "outbox/t/1/0-1.json") == "done"
    assert answer(s3, "put_object", "tasks/t/state.json", Body=b"") == "AccessDenied"
    assert answer(s3, "create_multipart_upload", "models/t-1/model.safetensors") == "AccessDenied"
    assert answer(s3, "delete_object", "tasks/t/attempts/1/last-word.json") == "AccessDenied"


@mock_aws
@set_initial_no_auth_action_count(_PREPARATIONS)
def test_a_worker_deletes_markers_and_never_what_a_replay_rests_on() -> None:
    s3 = bucket_as("worker")
    copied = {"CopySource": {"Bucket": "bucket", "Key": _KEY}}
    assert answer(s3, "copy_object", "models/t-1/config.json", **copied) == "done"
    assert answer(s3, "put_object", "tasks/t/form.json", Body=b"") == "done"
    assert answer(s3, "delete_object", "active/0/t") == "done"
    assert answer(s3, "delete_object", "tasks/t/form.json") == "AccessDenied"
    assert answer(s3, "put_object", _KEY, Body=b"") == "AccessDenied"


@pytest.mark.parametrize("role", ["worker", "trainer", "platform", "console", "operator"])
def test_what_is_not_there_is_not_there_and_not_forbidden(role: str) -> None:
    @mock_aws  # type: ignore[untyped-decorator, unused-ignore]
    @set_initial_no_auth_action_count(_PREPARATIONS)
    def asked() -> None:
        s3 = bucket_as(role)
        assert answer(s3, "get_object", "datasets/d/none/report.json") == "NoSuchKey"
        assert s3.list_objects_v2(Bucket="bucket", Prefix="datasets/")["KeyCount"] == 0

    asked()
