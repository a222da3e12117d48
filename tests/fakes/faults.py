"""A world that crashes at a chosen call: before it takes place, or after, so that only its answer is lost."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any, TypeVar

from handlers.ports.jobs import JobSpec, JobStatus
from handlers.ports.store import ObjectInfo, Stored
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.store import MemoryStore
from tests.fakes.world import World

Answer = TypeVar("Answer")


class Crash(Exception):
    """The process was killed here."""


class Faults:
    """Counts calls, and crashes at one of them. ``calls`` says what was called, in order.

    ``for_good``: at all later ones too, so that whoever goes on after any error does not get further.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.crash_at: int | None = None
        self.after = False
        self.for_good = False

    async def call(self, name: str, answer: Awaitable[Answer]) -> Answer:
        """Let a call take place, unless it is the one to crash at."""
        now = len(self.calls) == self.crash_at
        dead = self.for_good and self.crash_at is not None and len(self.calls) > self.crash_at
        self.calls.append(name)
        if dead or (now and not self.after):
            if hasattr(answer, "close"):
                answer.close()
            raise Crash(name)
        found = await answer
        if now:
            raise Crash(f"after {name}")
        return found


class FaultyStore(MemoryStore):
    """A MemoryStore whose every call may be the last."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def head(self, key: str) -> ObjectInfo | None:
        return await self._faults.call(f"head {key}", super().head(key))

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        return await self._faults.call(f"get {key}", super().get(key, byte_range=byte_range, if_match=if_match))

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        put = super().put(key, body, if_none_match=if_none_match, if_match=if_match)
        return await self._faults.call(f"put {key}", put)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        async def listed() -> "list[ObjectInfo]":
            return [found async for found in MemoryStore.list(self, prefix)]

        for found in await self._faults.call(f"list {prefix}", listed()):
            yield found

    async def copy(self, source: str, target: str) -> None:
        await self._faults.call(f"copy {target}", super().copy(source, target))

    async def delete(self, key: str) -> None:
        await self._faults.call(f"delete {key}", super().delete(key))

    async def upload(self, key: str, path: Path) -> str:
        return await self._faults.call(f"upload {key}", super().upload(key, path))


class FaultyExecutor(FakeExecutor):
    """A FakeExecutor whose every call may be the last."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    async def submit(self, spec: JobSpec) -> None:
        await self._faults.call("submit", super().submit(spec))

    async def status(self, job_id: str, attempt: int) -> JobStatus:
        return await self._faults.call("status", super().status(job_id, attempt))

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        await self._faults.call("cancel", super().cancel(job_id, attempt, grace_seconds))


def faulty_world() -> tuple[World, Faults]:
    """Return a world whose bucket and executor can crash; nothing does before ``crash_at`` is set."""
    faults = Faults()
    world = World(FaultyStore(faults))
    world.executor = FaultyExecutor(faults)
    world.ports["executors"] = FakeExecutors(world.executor)
    return world, faults


async def survives(faults: Faults, at: int, *, after: bool, deliver: Any) -> Any:
    """Deliver with a crash at the call numbered ``at`` from now, then deliver again; return the last outcome.

    Where the delivery makes fewer calls it is not crashed, and delivered twice all the same.
    """
    faults.crash_at, faults.after = len(faults.calls) + at, after
    with contextlib.suppress(Crash):
        await deliver()
    faults.crash_at = None
    return await deliver()
