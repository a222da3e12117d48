"""The executor ``local`` is one machine's: a worker on another one would take its jobs for lost, and train twice."""

import asyncio
import contextlib
import hashlib
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import structlog

from handlers import layout
from handlers.errors import Transient
from handlers.ports.store import ObjectStore
from worker.cancelling import cancel
from worker.settings import Settings, SettingsError

log = structlog.get_logger()

_JOB = "local"


@asynccontextmanager
async def the_only_machine(store: ObjectStore, settings: Settings) -> AsyncIterator[None]:
    """Say, until the end, that this machine's workers run jobs of their own. Several on one machine may.

    Another machine that says so is waited for as long as a worker may take to stop. Then, and where the bucket does not
    answer:

    Raises:
        SettingsError: another machine goes on running jobs of its own.
        Unavailable: the bucket does not answer.
    """
    mine = layout.member(_JOB, await asyncio.to_thread(machine, settings.work_dir))
    await store.put(mine, uuid4().hex.encode())
    beating = asyncio.create_task(_beat(store, mine, settings.lease_seconds / 4), name="local-machine")
    try:
        await _wait_for_others(store, mine, settings)
        yield
    finally:
        await cancel([beating])
        # Of several workers the others put it back. Where the bucket is away, whoever comes waits a lease.
        with contextlib.suppress(Transient):
            await store.delete(mine)


def machine(work_dir: Path) -> str:
    """Return a name for who can see the processes of jobs under a folder: a host, or one container of it. Blocks."""
    place = f"{platform.node()}:{work_dir.absolute()}"
    return f"{platform.node()[:64] or 'unnamed'}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


async def _wait_for_others(store: ObjectStore, mine: str, settings: Settings) -> None:
    before = await _others(store, mine)
    patience = settings.drain_seconds + settings.lease_seconds
    while before:
        log.warning("local.other_machine", machines=sorted(map(_name, before)), seconds=settings.lease_seconds)
        await asyncio.sleep(settings.lease_seconds)
        patience -= settings.lease_seconds
        now = await _others(store, mine)
        alive = {key: beat for key, beat in now.items() if before.get(key) != beat}
        for key in now.keys() - alive.keys():
            await store.delete(key)
        if alive and patience <= 0:
            raise SettingsError(
                f"the executor local runs jobs on {', '.join(sorted(map(_name, alive)))} too: workers on other "
                "machines would take its jobs for lost. Stop the workers there, or name an executor that machines can "
                "share (ray, slurm, kubernetes) in the file of WORKER_EXECUTORS_FILE"
            )
        before = alive


async def _others(store: ObjectStore, mine: str) -> dict[str, str]:
    return {info.key: info.etag async for info in store.list(layout.member(_JOB)) if info.key != mine}


async def _beat(store: ObjectStore, key: str, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await store.put(key, uuid4().hex.encode())
        except Transient as error:
            log.warning("local.unsaid", error=repr(error))


def _name(key: str) -> str:
    return key.rpartition("/")[2].rpartition("-")[0]
