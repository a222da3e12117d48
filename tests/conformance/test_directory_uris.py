"""Nothing leads out of a bucket in a directory: no link, no URI."""

from pathlib import Path
from urllib.parse import quote

import pytest

from handlers.errors import OutsideBucket
from worker.storage.directory import DirectoryStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def keys_of(store: DirectoryStore) -> list[str]:
    return [info.key async for info in store.list("")]


async def test_links_are_not_followed(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(outside / "secret")
    (root / "directory").symlink_to(outside)
    for key in ("file", "directory", "directory/secret", "directory/new"):
        with pytest.raises(OutsideBucket):
            store.key(store.uri(key))
        for use in (store.get, store.head, store.delete):
            with pytest.raises(OutsideBucket):
                await use(key)
        with pytest.raises(OutsideBucket):
            await store.put(key, b"")
    assert await keys_of(store) == []
    assert [info.key async for info in store.list("directory/")] == []
    assert names_in(outside) == ["secret"]


def test_a_bucket_reached_over_a_link_has_both_uris(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    store = DirectoryStore(tmp_path / "link")
    assert store.uri("a") == f"file://{tmp_path}/link/a"
    assert store.key(f"file://{tmp_path}/link/a") == store.key(f"file://{tmp_path}/real/a") == "a"


@pytest.mark.parametrize(
    ("tail", "key"),
    [
        ("a%20b", "a b"),
        ("a b", "a b"),
        ("%E4%B8%AD", "中"),
        ("中", "中"),
        ("%61", "a"),
        ("%252E%252E/a", "%2E%2E/a"),
        ("a%3Fb%23c", "a?b#c"),
    ],
)
def test_uris_are_decoded_once(store: DirectoryStore, tail: str, key: str) -> None:
    root = store.uri("x").removesuffix("x")
    assert store.key(root + tail) == key
    assert store.key(root.replace("file:///", "FILE://localhost/") + tail) == key
    assert store.key(root.replace("file:///", "file:/") + tail) == key


@pytest.mark.parametrize(
    "tail",
    [
        "%2e%2e/outside", "%2E%2E%2Foutside", "a%2Fb", "a/..%2f..", "a%00", "%2Estore/locks/00", "%FF", "a?b", "a#b",
        "..", "a/./b", "a\nb/../c", "a%5C..%2F",
    ],
)  # fmt: skip
def test_uris_that_hide_the_way_out_are_refused(store: DirectoryStore, tail: str) -> None:
    with pytest.raises(OutsideBucket):
        store.key(store.uri("x").removesuffix("x") + tail)


def test_uris_of_other_places_are_refused(store: DirectoryStore, root: Path) -> None:
    path = quote(str(root))
    for uri in (
        "", "a", str(root / "a"), f"file://{path}", f"file://{path}2/a", f"file://host{path}/a", f"s3://{path}/a",
        f"file:/{path}/a", f"file:{path}", f"file://{path}/../bucket/a", f"file://{root.parent}/%2e/bucket/a",
    ):  # fmt: skip
        with pytest.raises(OutsideBucket):
            store.key(uri)
