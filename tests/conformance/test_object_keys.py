"""Which keys, URIs and buckets there are: odd ones work, hostile ones are refused, in every bucket alike."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from handlers import layout
from handlers.errors import OutsideBucket
from handlers.ports.store import ObjectStore
from worker.settings import Settings, SettingsError
from worker.storage import open_store

ODD_KEYS = [
    layout.task("..", "form"),
    layout.task(".hidden", "state"),
    "tasks/%2E%2e/literal",
    "datasets/孤灯照不寐/train 1.jsonl",
    "a+b&c=d?e#f%20g;h@i!j'k(l)*~",
    'quote"and\\backslash',
    "...",
    "x" * 255,
]
ILLEGAL_KEYS = ["", "/", "/etc/passwd", "../a", "a/../b", "a/./b", "a//b", "..", "."]
ILLEGAL_IN_REAL_BUCKETS = ["a\0b", "x" * 256, "a/" * 600 + "b", "\ud800", ".store/locks/00", ".store"]


async def collect(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key async for info in store.list(prefix)]


@pytest.mark.parametrize("key", ODD_KEYS)
async def test_odd_keys_are_keys(store: ObjectStore, key: str) -> None:
    etag = await store.put(key, key.encode())
    assert await store.get(key) == (key.encode(), etag)
    assert await collect(store, "") == [key]
    assert await collect(store, key) == [key]
    assert store.key(store.uri(key)) == key
    await store.copy(key, "copied")
    await store.delete(key)
    assert await collect(store, "") == ["copied"]


async def test_a_prefix_has_a_uri(store: ObjectStore) -> None:
    assert store.key(store.uri("models/m/")) == "models/m/"
    assert store.uri("models/m/") + "manifest.json" == store.uri("models/m/manifest.json")


async def every_use(store: ObjectStore, key: str, local: Path) -> list[Callable[[], Awaitable[object]]]:
    await store.put("there", b"")
    return [
        lambda: store.get(key),
        lambda: store.head(key),
        lambda: store.put(key, b""),
        lambda: store.delete(key),
        lambda: store.copy(key, "target"),
        lambda: store.copy("there", key),
        lambda: store.upload(key, local),
        lambda: store.download(key, local),
    ]


@pytest.mark.parametrize("key", ILLEGAL_KEYS)
async def test_hostile_keys_are_refused(store: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        store.uri(key)
    for use in (store.head, store.get, store.delete):
        if key:
            with pytest.raises(ValueError, match="key"):
                await use(key)


@pytest.mark.parametrize("key", [*ILLEGAL_KEYS, *ILLEGAL_IN_REAL_BUCKETS])
async def test_hostile_keys_are_refused_everywhere(real_store: ObjectStore, tmp_path: Path, key: str) -> None:
    (tmp_path / "local").write_bytes(b"")
    for use in await every_use(real_store, key, tmp_path / "local"):
        with pytest.raises(ValueError, match="key"):
            await use()
    assert await collect(real_store, "") == ["there"]


async def test_nothing_is_stored_under_a_prefixs_name(real_store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"")
    await real_store.put("there", b"")
    for put in (
        lambda: real_store.put("a/", b""),
        lambda: real_store.copy("there", "a/"),
        lambda: real_store.upload("a/", tmp_path / "local"),
    ):
        with pytest.raises(ValueError, match="slash"):
            await put()
    with pytest.raises(FileNotFoundError):
        await real_store.copy("there/", "a")
    with pytest.raises(FileNotFoundError):
        await real_store.download("there/", tmp_path / "local")


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//b", "\0", ".store/"])
async def test_hostile_prefixes_are_refused(real_store: ObjectStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="key"):
        await collect(real_store, prefix)


@pytest.mark.parametrize("tail", ["", "../secret", "a/../../secret", "a//b", "/a", ".store/locks/00", "a\0b"])
async def test_uris_that_lead_out_are_refused(real_store: ObjectStore, tail: str) -> None:
    root = real_store.uri("a").removesuffix("a")
    for uri in (root + tail, root.removesuffix("/") + "-other/a", "http" + root.removeprefix("file")):
        with pytest.raises(OutsideBucket):
            real_store.key(uri)


async def test_the_same_bucket_opens_twice(settings: Settings) -> None:
    async with open_store(settings) as one, open_store(settings) as other:
        etag = await one.put("a", b"1")
        assert await other.get("a") == (b"1", etag)
        assert other.uri("a") == one.uri("a")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("gs://bucket", "s3://bucket"),
        ("/var/bucket", "file:///path"),
        ("", "file:///path"),
        ("file://relative/path", "three slashes"),
        ("file:relative", "file"),
        ("file:///a?b", "file"),
        ("s3://", "s3://bucket"),
        ("s3:///prefix", "s3://bucket"),
        ("s3://bucket/../other", "directory"),
        ("s3://bucket/" + "x" * 200, "128"),
    ],
)
async def test_what_is_no_bucket_is_refused(url: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        async with open_store(Settings(storage_url=url)):
            pytest.fail("opened")
