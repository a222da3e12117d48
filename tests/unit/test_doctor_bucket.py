"""What ``worker doctor`` says of a bucket that cannot be used: once, and elsewhere only where to look."""

import pytest

from worker.doctor.bucket import check_bucket
from worker.doctor.clocks import check_bucket_clock
from worker.settings import Settings


@pytest.mark.parametrize("url", ["ftp://x", "/srv/x", "s3://"])
async def test_a_url_that_names_no_bucket_is_said_once_and_asked_nothing(url: str) -> None:
    settings = Settings(storage_url=url)
    (bucket,) = await check_bucket(settings)
    assert (bucket.mark, bucket.remedy) == ("wrong", "set WORKER_STORAGE_URL")
    assert f"WORKER_STORAGE_URL is {url!r}" in bucket.text
    (clock,) = await check_bucket_clock(settings)
    assert (clock.mark, clock.text) == ("unchecked", "the bucket cannot be asked, see bucket")


async def test_a_server_that_does_not_answer_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (clock,) = await check_bucket_clock(Settings(storage_url="s3://x", s3_endpoint_url="http://127.0.0.1:1"))
    assert (clock.mark, clock.text) == ("unchecked", "the bucket cannot be asked, see bucket")
