"""Sweeps active tasks and acts on what no event announces. The decisions are in handlers/reconciliation.py."""

import asyncio
from itertools import islice

import structlog
from msgspec.structs import replace

from contracts.envelope import Event
from contracts.training import Failure, TrainingDispatched
from handlers import attempts, layout, task_state
from handlers.errors import Transient
from handlers.outcome import FollowOn, complete
from handlers.ports import Clock, Executor, JobStatus, ObjectStore
from handlers.reconciliation import Action, decide
from handlers.task_state import TaskState
from handlers.training_progress import terminated
from worker.delivery.publishing import Publisher
from worker.members import Members

log = structlog.get_logger()

STAGE = "reconciler"

#: Tasks looked at at a time. A look mostly waits for the bucket and the engine; more would take the stages' event loop.
LOOKS_AT_ONCE = 4


class Reconciler:
    """The workers share the sweeps (:class:`Members`); everything it does is safe to be done by two."""

    def __init__(
        self,
        store: ObjectStore,
        executor: Executor,
        publisher: Publisher,
        clock: Clock,
        *,
        every_seconds: float,
        patience_seconds: float,
        lease_seconds: float,
        cancel_grace_seconds: float,
    ) -> None:
        self._store = store
        self._executor = executor
        self._publisher = publisher
        self._clock = clock
        self._every_seconds = every_seconds
        self._patience_seconds = patience_seconds
        self._cancel_grace_seconds = cancel_grace_seconds
        self._members = Members(store, clock, "reconciler", lease_seconds, layout.ACTIVE_SHARDS)
        #: task id -> (revision, when we first saw it by our own clock)
        self._seen: dict[str, tuple[int, float]] = {}

    async def run(self) -> None:
        """Sweep until cancelled. A fault of one task or one sweep is logged and tried again at the next."""
        try:
            while True:
                try:
                    await self.sweep(await self._members.share())
                except Transient as error:
                    log.warning("sweep.failed", error=repr(error))
                await asyncio.sleep(self._every_seconds)
        finally:
            await self._members.leave()

    async def sweep(self, shards: frozenset[int] | None = None) -> None:
        """Look once at every active task: of these shards, as long as they are ours, or of all, whosever they are."""
        names = await self._active(shards)
        for gone in self._seen.keys() - set(names):
            del self._seen[gone]
        left = iter(names)
        while some := list(islice(left, LOOKS_AT_ONCE)):
            await asyncio.gather(*map(self._try_to_look_after, some))
            # A sweep of many tasks takes longer than one is missed; and whoever came meanwhile takes its share.
            if shards is not None and await self._members.share() != shards:
                return

    async def _active(self, shards: frozenset[int] | None) -> list[str]:
        # One listing where all is ours: a listing is priced like a write, and is made every few seconds.
        if shards is None or len(shards) == layout.ACTIVE_SHARDS:
            prefixes = [layout.active_shard()]
        else:
            prefixes = [layout.active_shard(shard) for shard in sorted(shards)]
        return [layout.active_task(found.key) for prefix in prefixes async for found in self._store.list(prefix)]

    async def _try_to_look_after(self, task_id: str) -> None:
        try:
            await self._look_after(task_id)
        except Exception:
            # One task's bug must not stop the others' retries.
            log.exception("sweep.task_failed", task_id=task_id)

    async def _look_after(self, task_id: str) -> None:
        state = await task_state.read(self._store, task_id)
        if state is None:
            return
        now = self._clock.monotonic()
        revision, since = self._seen.get(task_id, (-1, now))
        if revision != state.revision:
            since = now
        self._seen[task_id] = (state.revision, since)
        job = JobStatus(state="unknown")
        if state.attempt and not state.phase.terminal:
            job = await self._executor.status(task_id, state.attempt)
        action = decide(state, job, now - since, self._patience_seconds)
        if action is not Action.LEAVE:
            log.info("task.reconciled", task_id=task_id, action=action.name, phase=state.phase.value, job=job.state)
            await self._act(action, state, job)

    async def _act(self, action: Action, state: TaskState, job: JobStatus) -> None:
        if action is Action.SUBMIT:
            await self._hand_over(state)
        elif action is Action.CANCEL:
            await self._executor.cancel(state.task_id, state.attempt, self._cancel_grace_seconds)
        elif action is Action.RELEASE:
            await self._say(state, [task_state.status(state)])
            await self._store.delete(layout.active(state.task_id))
        else:
            await self._replace(action, state, job)

    async def _replace(self, action: Action, seen: TaskState, job: JobStatus) -> None:
        """Retry, fail or terminate a task whose job is gone, unless it has changed since it was looked at."""
        fault = f"attempt {seen.attempt} ended without a result (job {job.state}, exit code {job.exit_code})"

        def decided(now: TaskState | None) -> TaskState | None:
            if now is None or now.revision != seen.revision:
                return None
            if action is Action.TERMINATE:
                return terminated(now)
            if action is Action.FAIL:
                message = f"{fault}; {now.retry_count} of {now.retry_limit} retries are used up"
                return attempts.ended(now, Failure("retries-exhausted", "platform", message))
            message = f"{fault}; trying again from {_where(now)}"
            return attempts.begun(replace(now), reason="job-lost", message=message, infrastructure_fault=True)

        after = await task_state.change(self._store, self._clock, seen.task_id, decided)
        if after is None or after.revision != seen.revision + 1:
            return
        if action is not Action.RETRY:
            await self._say(after, [task_state.status(after)])
        elif after.attempt == seen.attempt + 1:
            await self._hand_over(after)

    async def _hand_over(self, state: TaskState) -> None:
        """Say the attempt and submit it. In this order: a crash between is found as an attempt without a job."""
        # The first attempt is said by the dispatch stage, whose event is delivered until it is.
        if state.attempt > 1:
            await self._say(state, [task_state.status(state), self._dispatched(state)])
        await attempts.submit(state, store=self._store, executor=self._executor)

    def _dispatched(self, state: TaskState) -> FollowOn:
        body = TrainingDispatched(
            task_id=state.task_id,
            project=state.project,
            attempt=state.attempt,
            executor=self._executor.name,
            job_id=state.task_id,
            plan_uri=self._store.uri(layout.task(state.task_id, "plan")),
        )
        return FollowOn("training.dispatched", state.task_id, body, time=state.changed_at)

    async def _say(self, state: TaskState, follow_ons: list[FollowOn]) -> None:
        # There is no inbound event: the cause is the state as it was found.
        cause: Event[None] = Event(
            topic=STAGE,
            key=state.task_id,
            id=f"{STAGE}/{state.task_id}/{state.revision}",
            type=STAGE,
            source=STAGE,
            time=self._clock.now(),
            data=None,
            correlation_id=state.task_id,
        )
        key = f"{state.task_id}/{state.attempt}"
        events = complete(follow_ons, cause=cause, stage=STAGE, version="-", business_key=key, now=self._clock.now())
        await self._publisher.publish(events)


def _where(state: TaskState) -> str:
    return f"the checkpoint at step {state.checkpoint.step}" if state.checkpoint else "the beginning"
