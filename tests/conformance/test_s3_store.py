"""What a bucket in S3 promises beyond the port: its prefix, large objects in parts, nothing half-way left behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from handlers.errors import OutsideBucket, Unavailable
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.s3 import S3Store

MIB = 1024 * 1024
PART = 5 * MIB


@pytest.fixture
async def store(s3_settings: Settings) -> AsyncIterator[S3Store]:
    async with open_store(s3_settings) as store:
        assert isinstance(store, S3Store)
        store._part_bytes = store._copied_bytes = PART
        yield store


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def unfinished(store: S3Store) -> list[object]:
    answer = await store._client.list_multipart_uploads(Bucket=store._bucket)
    return list(answer.get("Uploads", ()))


async def test_what_is_beside_the_prefix_is_not_there(store: S3Store, s3_settings: Settings) -> None:
    await store.put("a", b"")
    bucket = s3_settings.storage_url.split("/")[2]
    assert store.uri("a") == f"s3://{bucket}/some/prefix/a"
    assert [info.key async for info in store.list("")] == ["a"]
    for uri in ("elsewhere/secret", "some/prefix", "some/prefix2/a", "some/a", "some/prefix/../../elsewhere/secret"):
        with pytest.raises(OutsideBucket):
            store.key(f"s3://{bucket}/{uri}")
    with pytest.raises(OutsideBucket):
        store.key(f"s3://{bucket}-2/some/prefix/a")


async def test_uris_are_taken_literally(store: S3Store) -> None:
    root = store.uri("x").removesuffix("x")
    assert store.key(root + "%2e%2e/a b?c#d") == "%2e%2e/a b?c#d"


async def test_folders_that_consoles_make_are_no_objects(store: S3Store) -> None:
    await store._client.put_object(Bucket=store._bucket, Key="some/prefix/models/", Body=b"")
    await store.put("models/m", b"")
    assert [info.key async for info in store.list("")] == ["models/m"]
    assert await store.head("models/") is None


async def test_etags_are_taken_with_quotes_too(store: S3Store) -> None:
    etag = await store.put("a", b"1")
    assert '"' not in etag
    assert await store.get("a", if_match=f'"{etag}"') == (b"1", etag)
    await store.put("a", b"2", if_match=f'"{etag}"')


@pytest.mark.parametrize("size", [PART, PART + 1, 2 * PART, 3 * PART - 1])
async def test_parts_make_the_whole(store: S3Store, tmp_path: Path, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    (tmp_path / "up").write_bytes(content)
    await store.upload("a", tmp_path / "up")
    await store.copy("a", "b")
    await store.download("b", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == content
    assert await unfinished(store) == []


async def test_an_upload_that_fails_leaves_nothing(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up").write_bytes(b"x" * (2 * PART))
    send = store._client.upload_part

    async def second_never_arrives(**request: object) -> object:
        if request["PartNumber"] == 2:
            raise TimeoutError("as told")
        return await send(**request)

    monkeypatch.setattr(store._client, "upload_part", second_never_arrives)
    with pytest.raises(Unavailable):
        await store.upload("a", tmp_path / "up")
    assert await unfinished(store) == []
    assert await store.head("a") is None


async def test_what_is_replaced_while_it_is_moved_is_moved_again_by_the_caller(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up").write_bytes(b"x" * (2 * PART))
    await store.upload("a", tmp_path / "up")
    head = store.head

    async def replaced_after(key: str) -> object:
        info = await head(key)
        await store.put("a", b"y" * (2 * PART))
        return info

    monkeypatch.setattr(store, "head", replaced_after)
    with pytest.raises(Unavailable, match="replaced"):
        await store.download("a", tmp_path / "down")
    assert not (tmp_path / "down").exists()
    assert names_in(tmp_path) == ["up"]


async def test_a_download_that_is_cancelled_leaves_nothing(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "up").write_bytes(b"x" * (2 * PART))
    await store.upload("a", tmp_path / "up")
    reading = asyncio.Event()

    async def never_arrives(**_: object) -> object:
        reading.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(store._client, "get_object", never_arrives)
    downloading = asyncio.create_task(store.download("a", tmp_path / "down"))
    await reading.wait()
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading
    assert names_in(tmp_path) == ["up"]
