"""Ports that change nothing: a replay's dry run writes into memory, and submits no job."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from contracts.codec import encode_body
from contracts.dataset import DatasetFile
from contracts.envelope import Event
from handlers import layout
from handlers.errors import PreconditionFailed
from handlers.outcome import Decision, Outcome, complete
from handlers.planning.selection import Draws, Selection
from handlers.ports.clock import Clock
from handlers.ports.executors import Choice, Executor, Executors
from handlers.ports.jobs import JobListed, JobSpec, JobStatus
from handlers.ports.planner import Planner
from handlers.ports.receipts import Receipts
from handlers.ports.scanner import DatasetScanner
from handlers.ports.store import ObjectInfo, ObjectStore, Stored
from handlers.validation.report import Report


class Change(NamedTuple):
    """Where today's rules decide otherwise than what is recorded: the outcomes' names, and the topics that differ."""

    stage: str
    business_key: str
    recorded: str
    now: str
    differs: tuple[str, ...]


class OverlayStore:
    """An ObjectStore that reads a real one and keeps what is written to itself."""

    def __init__(self, real: ObjectStore) -> None:
        self._real = real
        #: None: deleted.
        self._written: dict[str, bytes | None] = {}

    def uri(self, key: str) -> str:
        """See ObjectStore."""
        return self._real.uri(key)

    def key(self, uri: str) -> str:
        """See ObjectStore."""
        return self._real.key(uri)

    async def head(self, key: str) -> ObjectInfo | None:
        """See ObjectStore."""
        if key not in self._written:
            return await self._real.head(key)
        body = self._written[key]
        return None if body is None else ObjectInfo(key, _etag(body), len(body))

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """See ObjectStore."""
        if key not in self._written:
            return await self._real.get(key, byte_range=byte_range, if_match=if_match)
        body = self._written[key]
        if body is None:
            return None
        if if_match not in (None, _etag(body)):
            raise PreconditionFailed(key)
        first, end = byte_range or (0, len(body))
        return Stored(body[first:end], _etag(body))

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore."""
        now = await self.head(key)
        if (if_none_match and now) or (if_match is not None and (now is None or now.etag != if_match)):
            raise PreconditionFailed(key)
        self._written[key] = body
        return _etag(body)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ObjectStore."""
        found = {info.key: info async for info in self._real.list(prefix) if info.key not in self._written}
        ours = {key: body for key, body in self._written.items() if key.startswith(prefix) and body is not None}
        found |= {key: ObjectInfo(key, _etag(body), len(body)) for key, body in ours.items()}
        for key in sorted(found):
            yield found[key]

    async def copy(self, source: str, target: str) -> None:
        """See ObjectStore. What is copied is never read back in a dry run, so its bytes stay where they are."""
        if await self.head(source) is None:
            raise FileNotFoundError(source)
        self._written[target] = b""

    async def delete(self, key: str) -> None:
        """See ObjectStore."""
        self._written[key] = None

    async def upload(self, key: str, path: Path) -> str:
        """See ObjectStore."""
        return await self.put(key, await asyncio.to_thread(path.read_bytes))

    async def download(self, key: str, path: Path) -> None:
        """See ObjectStore."""
        await self._real.download(key, path)


class ComparingReceipts:
    """Receipts that record nothing. Of a stage whose rules have versions, every outcome is computed anew and compared.

    ``changes`` is where today's rules decide otherwise.
    """

    def __init__(self, recorded: Receipts, clock: Clock, versioned: frozenset[str]) -> None:
        self._recorded, self._clock, self._versioned = recorded, clock, versioned
        self.changes: list[Change] = []

    async def once(
        self, stage: str, business_key: str, cause: Event[Any], work: Callable[[], Awaitable[Decision]]
    ) -> Outcome:
        """Return what is recorded; where nothing is, what would be. Never records. See Receipts."""
        found = await self._recorded.recorded(stage, business_key)
        if found and stage not in self._versioned:
            return found
        decision = await work()
        events = complete(
            decision.follow_ons, cause=cause, stage=stage, version="dry-run", business_key=business_key,
            now=self._clock.now(),
        )  # fmt: skip
        now = Outcome(name=decision.name, events=events)
        if found is None:
            return now
        if differs := _differing(found, now):
            self.changes.append(Change(stage, business_key, found.name, now.name, differs))
        return found

    async def recorded(self, stage: str, business_key: str) -> Outcome | None:
        """Return what is recorded, but for stages that are computed anew."""
        return None if stage in self._versioned else await self._recorded.recorded(stage, business_key)


class IdleExecutor:
    """An Executor that runs nothing and says that everything runs: a dry run begins no second attempt either."""

    name = "dry-run"

    async def submit(self, spec: JobSpec) -> None:
        """Do nothing."""

    async def status(self, job_id: str, attempt: int) -> JobStatus:  # noqa: ARG002 - the port names them
        """Return that it runs."""
        return JobStatus(state="running")

    async def cancel(self, job_id: str, attempt: int, grace_seconds: float) -> None:
        """Do nothing."""

    async def logs(self, job_id: str, attempt: int, cursor: int = 0) -> tuple[str, int]:  # noqa: ARG002 - the same
        """Return nothing."""
        return "", cursor

    async def jobs(self) -> Sequence[JobListed]:
        """Return none."""
        return ()

    async def forget(self, job_id: str, attempt: int) -> None:
        """Do nothing."""


class IdleExecutors:
    """Executors that choose as the real ones do, and run nothing."""

    def __init__(self, real: Executors) -> None:
        self._real = real

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        """Return what would serve a task. See Executors."""
        return self._real.choose(project, model_name, training_type)

    def of(self, name: str) -> Executor:  # noqa: ARG002 - the port names it
        """Return one that runs nothing."""
        return IdleExecutor()

    def every(self) -> Sequence[Executor]:
        """Return none."""
        return ()


class ScratchScanner:
    """A DatasetScanner whose findings go where nobody looks, and are removed."""

    def __init__(self, real: DatasetScanner, store: ObjectStore) -> None:
        self._real, self._store = real, store

    async def scan(
        self,
        files: Sequence[DatasetFile],
        format: str,
        findings_key: str,  # noqa: ARG002 - the real findings stay where they are
    ) -> Report:
        """Scan as the real one does. See DatasetScanner."""
        key = f"dry-runs/{uuid4().hex}.ndjson"
        try:
            return await self._real.scan(files, format, key)
        finally:
            await self._store.delete(key)


class UnwritingPlanner:
    """A Planner that draws as the real one does, and leaves no table."""

    def __init__(self, real: Planner) -> None:
        self._real = real

    async def draw(self, selection: Selection, task_id: str | None = None) -> Draws:  # noqa: ARG002 - the port names it
        """Return what comes of a selection. See Planner."""
        return await self._real.draw(selection)


class ForgetfulStore(OverlayStore):
    """An OverlayStore without the reports on datasets, so that they are made anew."""

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        """See ObjectStore."""
        if key not in self._written and layout.is_dataset_report(key):
            return None
        return await super().get(key, byte_range=byte_range, if_match=if_match)


def _etag(body: bytes) -> str:
    return "dry-" + layout.sha256_hex(body)


def _differing(recorded: Outcome, now: Outcome) -> tuple[str, ...]:
    """Return the topics whose events differ in what they say, whatever their ids and times."""

    def said(outcome: Outcome) -> dict[str, list[bytes]]:
        bodies: dict[str, list[bytes]] = {}
        for event in outcome.events:
            bodies.setdefault(event.topic, []).append(encode_body(event.data))
        return bodies

    before, after = said(recorded), said(now)
    return tuple(sorted(topic for topic in before.keys() | after.keys() if before.get(topic) != after.get(topic)))
