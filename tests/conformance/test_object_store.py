"""What every bucket promises: in memory, in a directory, in S3. Races and keys have files of their own."""

import asyncio
from pathlib import Path

import pytest

from handlers.errors import PreconditionFailed
from handlers.ports.store import ObjectStore

MIB = 1024 * 1024


async def collect(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key async for info in store.list(prefix)]


@pytest.mark.parametrize("body", [b"", b"x", b"\x00\xff" * 200_000], ids=["empty", "small", "large"])
async def test_what_is_put_is_got(store: ObjectStore, body: bytes) -> None:
    etag = await store.put("a/b.json", body)
    assert await store.get("a/b.json") == (body, etag)
    assert await store.head("a/b.json") == ("a/b.json", etag, len(body))
    assert [info async for info in store.list("")] == [("a/b.json", etag, len(body))]


async def test_a_put_replaces(store: ObjectStore) -> None:
    first = await store.put("a", b"first, and longer")
    second = await store.put("a", b"second")
    assert first != second
    assert await store.get("a") == (b"second", second)


async def test_equal_bytes_put_the_same_way_have_equal_etags(store: ObjectStore) -> None:
    assert await store.put("a", b"same") == await store.put("b", b"same") != await store.put("c", b"other")


async def test_what_is_missing_is_none(store: ObjectStore) -> None:
    await store.put("a", b"")
    for key in ("b", "a/below", "a/below/it"):
        assert await store.head(key) is None
        assert await store.get(key) is None
        assert await store.get(key, byte_range=(0, 1)) is None
        assert await store.get(key, byte_range=(2, 2), if_match="0" * 32) is None


async def test_what_is_only_a_prefix_is_no_object(store: ObjectStore) -> None:
    await store.put("models/m/manifest.json", b"{}")
    for key in ("models", "models/m", "models/m/"):
        assert await store.head(key) is None
        assert await store.get(key) is None
        await store.delete(key)
    assert await collect(store, "models/m/") == ["models/m/manifest.json"]


@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [
        ((0, 10), b"0123456789"),
        ((0, 1), b"0"),
        ((3, 7), b"3456"),
        ((8, 99), b"89"),
        ((9, 10), b"9"),
        ((10, 11), b""),
        ((50, 99), b""),
        ((4, 4), b""),
        ((0, 0), b""),
    ],
)
async def test_ranges(store: ObjectStore, byte_range: tuple[int, int], expected: bytes) -> None:
    etag = await store.put("a", b"0123456789")
    assert await store.get("a", byte_range=byte_range) == (expected, etag)
    assert await store.get("a", byte_range=byte_range, if_match=etag) == (expected, etag)
    with pytest.raises(PreconditionFailed):
        await store.get("a", byte_range=byte_range, if_match="0" * 32)


async def test_ranges_of_an_empty_object(store: ObjectStore) -> None:
    etag = await store.put("a", b"")
    assert await store.get("a", byte_range=(0, 5)) == (b"", etag)


@pytest.mark.parametrize("byte_range", [(-1, 3), (3, 2)])
async def test_what_is_no_range_is_refused(real_store: ObjectStore, byte_range: tuple[int, int]) -> None:
    await real_store.put("a", b"0123456789")
    with pytest.raises(ValueError, match="range"):
        await real_store.get("a", byte_range=byte_range)


async def test_a_pinned_get_wants_the_object_as_it_was(store: ObjectStore) -> None:
    old = await store.put("a", b"old")
    assert await store.get("a", if_match=old) == (b"old", old)
    await store.put("a", b"new")
    with pytest.raises(PreconditionFailed):
        await store.get("a", if_match=old)


async def test_if_none_match_stores_only_what_is_not_there(store: ObjectStore) -> None:
    etag = await store.put("a", b"first", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"second", if_none_match=True)
    assert await store.get("a") == (b"first", etag)
    await store.delete("a")
    await store.put("a", b"third", if_none_match=True)


async def test_if_match_stores_only_over_what_is_known(store: ObjectStore) -> None:
    first = await store.put("a", b"1")
    second = await store.put("a", b"2", if_match=first)
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"3", if_match=first)
    assert await store.get("a") == (b"2", second)
    await store.delete("a")
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"4", if_match=second)
    assert await store.get("a") is None


async def test_both_conditions_at_once_are_refused(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="exclude"):
        await store.put("a", b"", if_none_match=True, if_match="0" * 32)


async def test_a_listing_is_in_key_order_and_of_one_prefix(store: ObjectStore) -> None:
    keys = ["a", "b-c", "b.c", "b/a", "b/c/d", "b0", "bb", "c/b/a", "中/文", "\U0001f600"]
    for key in reversed(keys):
        await store.put(key, b"")
    assert await collect(store, "") == keys
    assert await collect(store, "b") == keys[1:7]
    assert await collect(store, "b/") == ["b/a", "b/c/d"]
    assert await collect(store, "b/c") == ["b/c/d"]
    assert await collect(store, "中") == ["中/文"]
    for nothing in ("d", "a/", "b/c/d/", "b/c/d/e"):
        assert await collect(store, nothing) == []


async def test_a_listing_has_more_than_a_page(store: ObjectStore) -> None:
    keys = [f"waiting/ds/{number:04}" for number in range(1005)]
    limit = asyncio.Semaphore(32)

    async def put(key: str) -> None:
        async with limit:
            await store.put(key, b"")

    await asyncio.gather(*map(put, keys))
    assert await collect(store, "waiting/ds/") == keys


async def test_listed_objects_may_go_while_they_are_listed(store: ObjectStore) -> None:
    for key in ("a/1", "a/2", "a/3"):
        await store.put(key, b"")
    async for info in store.list("a/"):
        await store.delete(info.key)
    assert await collect(store, "") == []


async def test_a_copy_is_an_object_of_its_own(store: ObjectStore) -> None:
    await store.put("a", b"copied")
    await store.put("c/b", b"replaced")
    await store.copy("a", "c/b")
    await store.put("a", b"changed")
    stored = await store.get("c/b")
    assert stored is not None
    assert stored.body == b"copied"


async def test_a_copy_onto_itself_changes_nothing(store: ObjectStore) -> None:
    etag = await store.put("a", b"same")
    await store.copy("a", "a")
    assert await store.get("a") == (b"same", etag)


async def test_what_is_missing_is_neither_copied_nor_downloaded(store: ObjectStore, tmp_path: Path) -> None:
    await store.put("there", b"stays")
    with pytest.raises(FileNotFoundError):
        await store.copy("missing", "there")
    with pytest.raises(FileNotFoundError):
        await store.download("missing", tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        await store.upload("there", tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    stored = await store.get("there")
    assert stored is not None
    assert stored.body == b"stays"


async def test_deleting_is_idempotent(store: ObjectStore) -> None:
    await store.put("a/b/c", b"")
    for _ in range(2):
        await store.delete("a/b/c")
        assert await store.head("a/b/c") is None
    await store.delete("never/was")
    await store.put("a/b", b"where a directory was")


@pytest.mark.parametrize("size", [0, 1000, 20 * MIB + 1], ids=["empty", "small", "in parts"])
async def test_files_go_up_and_down_and_are_copied(store: ObjectStore, tmp_path: Path, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]
    (tmp_path / "up").write_bytes(content)
    (tmp_path / "new").mkdir()
    local = tmp_path / "new" / "down"
    etag = await store.upload("models/m/weights", tmp_path / "up")
    assert await store.head("models/m/weights") == ("models/m/weights", etag, size)
    await store.copy("models/m/weights", "models/n/weights")
    await store.download("models/n/weights", local)
    assert local.read_bytes() == content
    assert list(local.parent.glob("*")) == [local]
