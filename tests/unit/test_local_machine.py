"""The executor ``local`` stays on one machine, and a worker that follows another one there need not wait for long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from handlers import layout
from tests.fakes.store import MemoryStore
from tests.wait import wait_until
from worker.local_machine import machine, the_only_machine
from worker.settings import Settings, SettingsError

SETTINGS = Settings(lease_seconds=0.1, drain_seconds=0.1)


@asynccontextmanager
async def _worker(store: MemoryStore, work_dir: Path) -> AsyncIterator[None]:
    async with the_only_machine(store, replace(SETTINGS, work_dir=work_dir)):
        yield


async def test_workers_of_one_machine_share_it_and_leave_nothing(tmp_path: Path) -> None:
    store = MemoryStore()
    async with _worker(store, tmp_path), _worker(store, tmp_path):
        assert list(store.objects) == [layout.member("local", machine(tmp_path))]
    assert store.objects == {}


async def test_jobs_in_another_folder_are_another_machine_s_and_refused_as_long_as_it_is_there(tmp_path: Path) -> None:
    store = MemoryStore()
    async with _worker(store, tmp_path / "a"):
        with pytest.raises(SettingsError, match=r"jobs on .* too.*WORKER_EXECUTORS_FILE"):
            async with _worker(store, tmp_path / "b"):
                raise AssertionError("two machines run jobs of their own")
        assert list(store.objects) == [layout.member("local", machine(tmp_path / "a"))]
    async with _worker(store, tmp_path / "b"):
        pass


async def test_one_that_died_is_waited_for_and_forgotten(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.put(layout.member("local", machine(tmp_path / "dead")), b"its last beat")
    async with _worker(store, tmp_path):
        assert list(store.objects) == [layout.member("local", machine(tmp_path))]


async def test_it_goes_on_saying_that_it_is_there(tmp_path: Path) -> None:
    store = MemoryStore()
    async with _worker(store, tmp_path):
        (key,) = store.objects
        said = store.objects[key]
        store.available = False
        await wait_until(lambda: len(store.puts) >= 1)
        store.available = True
        await wait_until(lambda: store.objects[key] != said)
