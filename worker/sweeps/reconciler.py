"""Sweeps active tasks and acts on what no event announces. The decisions are in handlers/reconciliation.py."""

import asyncio
from collections.abc import Set as AbstractSet
from itertools import islice

import structlog

from contracts import event_file
from contracts.task import Phase
from handlers import layout, task_state, unheard
from handlers.errors import Transient, Unavailable
from handlers.ports.clock import Clock
from handlers.ports.executors import Executors
from handlers.ports.jobs import JobStatus
from handlers.ports.store import ObjectStore
from handlers.reconciliation import (
    FOR_SILENCE,
    Action,
    Decision,
    Patience,
    Silence,
    decide,
    needs_job,
    place_is_news,
    unless_unheard,
)
from handlers.task_state import TaskState
from handlers.tenancy.projects import Projects
from worker.delivery.publishing import Publisher
from worker.settings import Settings
from worker.sweeps.admission import AdmissionSweep
from worker.sweeps.members import Members
from worker.sweeps.orphans import OrphanSweep
from worker.sweeps.remedies import Remedies
from worker.sweeps.seen import Seen, seen_now

log = structlog.get_logger()

#: Tasks looked at at a time. A look mostly waits for the bucket and the engine; more would take the stages' event loop.
LOOKS_AT_ONCE = 4


class Reconciler:
    """The workers share the sweeps (:class:`Members`); everything it does is safe to be done by two."""

    def __init__(
        self,
        store: ObjectStore,
        executors: Executors,
        projects: Projects,
        publisher: Publisher,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._store = store
        self._executors = executors
        self._publisher = publisher
        self._clock = clock
        self._every_seconds = settings.reconcile_seconds
        self._queue_seconds = settings.queue_position_seconds
        self._patience = Patience(settings.lost_job_seconds, settings.stalled_seconds, settings.stalled_retry_seconds)
        self._members = Members(store, clock, "reconciler", settings.lease_seconds, layout.ACTIVE_SHARDS)
        self._remedies = Remedies(store, executors, projects, publisher, clock, settings.cancel_grace_seconds)
        self._admission = AdmissionSweep(store, projects, clock, self._remedies, settings.queue_position_seconds)
        self._orphans = OrphanSweep(
            store,
            executors,
            clock,
            every_seconds=settings.orphan_seconds,
            patience_seconds=settings.lost_job_seconds,
            retention_seconds=settings.job_retention_seconds,
            cancel_grace_seconds=settings.cancel_grace_seconds,
        )
        self._seen: dict[str, Seen] = {}

    async def run(self) -> None:
        """Sweep until cancelled. A fault of one task or one sweep is logged and tried again at the next."""
        try:
            while True:
                try:
                    await self.sweep(await self._members.share())
                except Transient as error:
                    log.warning("sweep.failed", error=repr(error))
                except Exception:
                    # A bug in one sweep, or a job that nobody can read, must not end all stages of this worker.
                    log.exception("sweep.broken")
                await asyncio.sleep(self._every_seconds)
        finally:
            await self._members.leave()

    async def sweep(self, shards: AbstractSet[int] | None = None) -> None:
        """Look once at every active task: of these shards, as long as they are ours, or of all, whosever they are.

        Whoever has the first shard lets tasks out that waited for a quota, and looks at the executors' jobs, where that
        is due.
        """
        if shards is None or 0 in shards:
            await self._let_out()
        names = await self._active(shards)
        for gone in self._seen.keys() - set(names):
            del self._seen[gone]
        left = iter(names)
        while some := list(islice(left, LOOKS_AT_ONCE)):
            await asyncio.gather(*map(self._try_to_look_after, some))
            # A sweep of many tasks takes longer than one is missed; and whoever came meanwhile takes its share.
            if shards is not None and await self._members.share() != shards:
                return
        if shards is None or 0 in shards:
            await self._orphans.sweep_when_due()

    async def _let_out(self) -> None:
        try:
            await self._admission.sweep()
        except Transient as error:
            log.warning("admission.waits", error=str(error))
        except Exception:
            # A bug here must not stop what runs from being looked after.
            log.exception("admission.failed")

    async def _active(self, shards: AbstractSet[int] | None) -> list[str]:
        # One listing where all is ours: a listing is priced like a write, and is made every few seconds.
        all_ours = shards is None or len(shards) == layout.ACTIVE_SHARDS
        ours = [None] if all_ours else sorted(shards or ())
        # Nothing is to be done about those that wait for a quota; there may be very many.
        waiting = await self._admission.waiting(ours)
        prefixes = map(layout.active_shard, ours)
        names = [layout.active_task(found.key) for prefix in prefixes async for found in self._store.list(prefix)]
        return [name for name in names if name not in waiting]

    async def _try_to_look_after(self, task_id: str) -> None:
        try:
            await self._look_after(task_id)
        except Transient as error:
            log.warning("sweep.task_waits", task_id=task_id, error=str(error))
        except Exception:
            # One task's bug must not stop the others' retries.
            log.exception("sweep.task_failed", task_id=task_id)

    async def _look_after(self, task_id: str) -> None:
        state = await task_state.read(self._store, task_id)
        if state is None:
            return
        now = self._clock.monotonic()
        seen = self._seen[task_id] = seen_now(state, self._seen.get(task_id), now)
        job = await self._job(state)
        if job.state in ("queued", "running"):
            seen = self._seen[task_id] = seen._replace(there=now)
        silence = Silence(now - seen.changed, now - seen.stepped, now - seen.there)
        decision = decide(state, job, silence, self._patience)
        if decision.action in FOR_SILENCE:
            decision = await self._unless_unheard(decision, state)
        if decision.action is not Action.LEAVE:
            await self._act(decision, state, job)
        elif state.phase is Phase.QUEUED:
            await self._say_place(state, job, seen, now)

    async def _job(self, state: TaskState) -> JobStatus:
        if not needs_job(state):
            return JobStatus(state="unknown")
        try:
            return await self._executors.of(state.executor).status(state.task_id, state.attempt)
        except Unavailable:
            # As long as nobody says that a job is gone it counts as there.
            self._seen[state.task_id] = self._seen[state.task_id]._replace(there=self._clock.monotonic())
            raise

    async def _unless_unheard(self, decision: Decision, state: TaskState) -> Decision:
        """Return what is left to do once it is known what the attempt said; its last word is said again here."""
        found = await unheard.look(self._store, state)
        instead = unless_unheard(decision, found)
        if instead is not decision:
            self._seen[state.task_id] = self._seen[state.task_id]._replace(changed=self._clock.monotonic())
        if instead.action is not Action.REPEAT or found.last_word is None:
            return instead
        log.info("last-word.repeated", task_id=state.task_id, attempt=state.attempt)
        await self._publisher.send([event_file.record(found.last_word)])
        return Decision(Action.LEAVE)

    async def _act(self, decision: Decision, state: TaskState, job: JobStatus) -> None:
        action = decision.action.name
        log.info("task.reconciled", task_id=state.task_id, action=action, phase=state.phase.value, job=job.state)
        try:
            await self._remedies.carry_out(decision, state, job)
        except Unavailable:
            # While a job could not be handed over it was not silent: an outage uses up no retries.
            del self._seen[state.task_id]
            raise

    async def _say_place(self, state: TaskState, job: JobStatus, seen: Seen, now: float) -> None:
        """Say a queued task's place, not too often: with each job that begins, all behind it move."""
        place = job.queue_position if job.state == "queued" else None
        early = seen.queued is not None and now - seen.queued < self._queue_seconds
        if place is None or early or not place_is_news(state.queue_position, place):
            return
        self._seen[state.task_id] = seen._replace(queued=now)
        await self._remedies.place(state, place)
