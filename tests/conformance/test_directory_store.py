"""What a bucket in a directory promises beyond the port: files by hand, other processes, nothing left behind."""

import asyncio
import os
import signal
import sys
from hashlib import sha256
from pathlib import Path
from subprocess import PIPE

import pytest

from handlers.errors import PreconditionFailed, Unavailable
from tests.wait import wait_until
from worker.storage import bookkeeping
from worker.storage.bookkeeping import Bookkeeping
from worker.storage.directory import DirectoryStore

LARGE = bookkeeping.SMALL_BYTES + 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bucket"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def kept_digests(root: Path) -> list[str]:
    return names_in(root / ".store" / "digests")


async def keys_of(store: DirectoryStore) -> list[str]:
    return [info.key async for info in store.list("")]


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_file_dropped_in_by_hand_is_an_object(store: DirectoryStore, root: Path, size: int) -> None:
    (root / "datasets").mkdir()
    (root / "datasets" / "d.jsonl").write_bytes(b"x" * size)
    etag = sha256(b"x" * size).hexdigest()
    assert await store.head("datasets/d.jsonl") == ("datasets/d.jsonl", etag, size)
    assert await store.get("datasets/d.jsonl", byte_range=(size - 2, size + 9), if_match=etag) == (b"xx", etag)
    assert [info async for info in store.list("datasets/")] == [("datasets/d.jsonl", etag, size)]
    with pytest.raises(PreconditionFailed):
        await store.put("datasets/d.jsonl", b"", if_none_match=True)
    await store.put("datasets/d.jsonl", b"y", if_match=etag)
    assert (root / "datasets" / "d.jsonl").read_bytes() == b"y"


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_file_changed_by_hand_has_another_etag(
    store: DirectoryStore, root: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "SETTLED_SECONDS", -1.0)
    path = root / "a"
    await store.put("a", b"x" * size)
    before = path.stat()

    def change() -> bool:
        path.write_bytes(b"y" * size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return path.stat().st_ctime_ns > before.st_ctime_ns

    await wait_until(change)
    info = await store.head("a")
    assert info is not None
    assert info.etag == sha256(b"y" * size).hexdigest()


def test_a_large_file_is_not_read_again_until_it_changes(root: Path) -> None:
    root.mkdir()
    books = Bookkeeping(root)
    books.open()
    path = root / "a"
    path.write_bytes(b"x" * LARGE)
    with path.open("rb") as file:
        books.keep(path, file, "remembered")
        assert books.digest(path, file) == "remembered"
    other = root / "b"
    other.write_bytes(b"x" * LARGE)
    other.replace(path)
    with path.open("rb") as file:
        assert books.digest(path, file) == sha256(b"x" * LARGE).hexdigest()


async def test_the_digest_of_a_file_that_may_still_be_written_is_not_kept(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_bytes(b"x" * LARGE)
    monkeypatch.setattr(bookkeeping, "SETTLED_SECONDS", 3600.0)
    await store.head("a")
    assert kept_digests(root) == []
    monkeypatch.setattr(bookkeeping, "SETTLED_SECONDS", -1.0)
    await store.head("a")
    assert len(kept_digests(root)) == 1
    await store.delete("a")
    assert kept_digests(root) == []


async def test_who_only_looks_reads_a_bucket_that_came_later(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "SETTLED_SECONDS", -1.0)
    looking = DirectoryStore(root, make=False)
    assert await looking.head("a") is None
    _make_by_hand(root)
    assert await looking.head("a") == ("a", sha256(b"x" * LARGE).hexdigest(), LARGE)
    assert not (root / ".store").exists()


def _make_by_hand(root: Path) -> None:
    root.mkdir()
    (root / "a").write_bytes(b"x" * LARGE)


async def test_what_is_put_large_is_never_read_for_its_etag(store: DirectoryStore, root: Path) -> None:
    etag = await store.put("a", b"x" * LARGE)
    assert len(kept_digests(root)) == 1
    assert await store.head("a") == ("a", etag, LARGE)


async def test_only_objects_are_listed_and_nothing_is_left(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    await store.put("a", b"x" * LARGE)
    await store.upload("b", root / "a")
    await store.copy("a", "c")
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"", if_none_match=True)
    with pytest.raises(FileNotFoundError):
        await store.upload("d", tmp_path / "missing")
    os.mkfifo(root / "pipe")
    (root / os.fsdecode(b"\xff")).write_bytes(b"")
    (root / "link").symlink_to(root / "a")
    (root / "empty").mkdir()
    assert await keys_of(store) == ["a", "b", "c"]
    assert await store.get("pipe") is None
    assert names_in(root / ".store" / "drafts") == []


async def test_empty_directories_go_with_their_last_object(store: DirectoryStore, root: Path) -> None:
    await store.put("waiting/d/t1", b"")
    await store.put("waiting/d/t2", b"")
    await store.delete("waiting/d/t1")
    assert (root / "waiting" / "d").is_dir()
    await store.delete("waiting/d/t2")
    assert names_in(root) == [".store"]


async def test_puts_survive_deletes_beside_them(store: DirectoryStore) -> None:
    async def come_and_go(name: str) -> None:
        for _ in range(40):
            await store.put(f"waiting/d/{name}", b"")
            await store.delete(f"waiting/d/{name}")

    await asyncio.gather(*(come_and_go(str(number)) for number in range(4)))
    assert await keys_of(store) == []


async def test_no_object_is_below_another(store: DirectoryStore) -> None:
    await store.put("a/b", b"")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(ValueError, match="below another"):
            await store.put(key, b"")
    assert await keys_of(store) == ["a/b"]


async def test_an_empty_directory_gives_way(store: DirectoryStore, root: Path) -> None:
    (root / "a").mkdir()
    etag = await store.put("a", b"", if_none_match=True)
    assert await store.get("a") == (b"", etag)


async def test_a_directory_that_refuses_is_unavailable(store: DirectoryStore, root: Path) -> None:
    await store.put("a", b"")
    drafts = root / ".store" / "drafts"
    drafts.rmdir()
    drafts.write_bytes(b"no directory any more")
    with pytest.raises(Unavailable):
        await store.put("a", b"")
    with pytest.raises(Unavailable):
        await store.copy("a", "b")
    assert await store.get("a") is not None


async def test_what_a_killed_process_left_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DirectoryStore(root)
    draft = root / ".store" / "drafts" / "left"
    draft.write_bytes(b"half an obj")
    await asyncio.to_thread(DirectoryStore, root)
    assert draft.exists()
    monkeypatch.setattr(bookkeeping, "ABANDONED_SECONDS", -1.0)
    await asyncio.to_thread(DirectoryStore, root)
    assert not draft.exists()


HOLDER = """
import sys
from pathlib import Path
from worker.storage.bookkeeping import Bookkeeping
root = Path(sys.argv[1])
with Bookkeeping(root).locked(root / "a"):
    print("held", flush=True)
    sys.stdin.read()
"""


async def test_another_process_is_waited_for_and_a_killed_one_holds_nothing(store: DirectoryStore, root: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(root), stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    putting = asyncio.create_task(store.put("a", b"1", if_none_match=True))
    done, _ = await asyncio.wait([putting], timeout=0.3)
    assert not done
    assert await store.head("a") is None
    process.send_signal(signal.SIGKILL)
    await putting
    await process.wait()
    assert await store.get("a") is not None


async def test_an_abandoned_copy_ends_and_leaves_nothing(store: DirectoryStore, root: Path) -> None:
    with (root / "a").open("wb") as file:
        file.truncate(2 * 1024**3)
    copying = asyncio.create_task(store.copy("a", "b"))
    drafts = root / ".store" / "drafts"
    await wait_until(lambda: names_in(drafts))
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    await wait_until(lambda: not names_in(drafts))
    assert await store.head("b") is None
