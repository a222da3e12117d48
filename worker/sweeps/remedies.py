"""Carries out what the reconciler decided about a task. Everything here is safe to be done by two at once."""

from msgspec.structs import replace

from contracts.envelope import Event
from contracts.task import Phase
from contracts.training import Failure
from handlers import attempts, failures, layout, task_state
from handlers.outcome import FollowOn, complete
from handlers.ports.clock import Clock
from handlers.ports.executors import Executors
from handlers.ports.jobs import JobStatus
from handlers.ports.store import ObjectStore
from handlers.reconciliation import Action, Decision
from handlers.task_state import TaskState
from handlers.tenancy import queue
from handlers.tenancy.projects import Projects
from handlers.training_progress import STALLED
from worker.delivery.publishing import Publisher

STAGE = "reconciler"


class Remedies:
    """Changes tasks, speaks of them, acts on their jobs: the state first, and only where it is as it was seen."""

    def __init__(
        self,
        store: ObjectStore,
        executors: Executors,
        projects: Projects,
        publisher: Publisher,
        clock: Clock,
        cancel_grace_seconds: float,
    ) -> None:
        self._store = store
        self._executors = executors
        self._projects = projects
        self._publisher = publisher
        self._clock = clock
        self._grace_seconds = cancel_grace_seconds

    async def carry_out(self, decision: Decision, state: TaskState, job: JobStatus) -> None:
        """Do what was decided; LEAVE is nothing."""
        match decision.action:
            case Action.SUBMIT:
                await self._hand_over(state)
            case Action.CANCEL:
                await self._cancel(state)
            case Action.RELEASE:
                await self._say(state, task_state.status(state))
                await self._store.delete(layout.active(state.task_id))
            case Action.RETRY | Action.RESUME:
                await self._begin_another(decision, state, job)
            case Action.FAIL | Action.PAUSE | Action.TERMINATE | Action.STALLED:
                await self._change(decision, state, job)

    async def place(self, state: TaskState, position: int | None) -> None:
        """Write down and say where a queued task is in its engine's queue."""
        await self._changed(state, replace(state, queue_position=position))

    async def waits(self, state: TaskState, position: int, message: str) -> None:
        """Write down and say which quota a task waits for, and behind how many of its project."""
        told = replace(state, queue_position=position, reason=queue.WAITING, party=None, message=message)
        await self._changed(state, told)

    async def let_out(self, state: TaskState) -> None:
        """Write down and say that a task waits for no quota any more, where it was said to."""
        if state.reason == queue.WAITING:
            message = "it is handed to its executor"
            await self._changed(state, replace(state, queue_position=None, reason="admitted", message=message))

    async def refuse(self, state: TaskState, failure: Failure) -> None:
        """End a task that could never start, and say why."""
        await self._changed(state, attempts.ended(state, failure))

    async def _begin_another(self, decision: Decision, seen: TaskState, job: JobStatus) -> None:
        placed = await attempts.choice(seen, store=self._store, executors=self._executors)
        if decision.action is Action.RESUME:
            wanted = attempts.resumed(seen, placed)
        else:
            assert decision.end is not None
            wanted = attempts.retried(seen, placed, decision.end)
        after = await self._write(seen, wanted)
        if after is None:
            return
        if job.state in ("queued", "running"):
            await self._cancel(seen)  # given up; it is fenced from now on
        await self._hand_over(after)

    async def _change(self, decision: Decision, seen: TaskState, job: JobStatus) -> None:
        after = await self._changed(seen, self._wanted(decision, seen))
        if after and after.phase is Phase.FAILED and job.state in ("queued", "running"):
            await self._cancel(seen)

    def _wanted(self, decision: Decision, seen: TaskState) -> TaskState:
        if decision.action is Action.TERMINATE:
            return attempts.terminated(seen)
        if decision.action is Action.PAUSE:
            return attempts.paused(seen)
        if decision.action is Action.STALLED:
            at = f"step {seen.progress.step}" if seen.progress else "the beginning"
            message = f"no new step since {at}, although its engine says that the job runs. Look at the job's log"
            return replace(seen, reason=STALLED, party="platform", message=message)
        assert decision.end is not None
        return failures.failed(seen, decision.end)

    async def _changed(self, seen: TaskState, wanted: TaskState) -> TaskState | None:
        after = await self._write(seen, wanted)
        if after is not None:
            await self._say(after, task_state.status(after))
        return after

    async def _write(self, seen: TaskState, wanted: TaskState) -> TaskState | None:
        """Change a task unless it has changed since it was looked at; return it afterwards, or None."""
        mine = False

        def decided(now: TaskState | None) -> TaskState | None:
            nonlocal mine
            mine = now is not None and now.revision == seen.revision
            return wanted if mine else None

        after = await task_state.change(self._store, self._clock, seen.task_id, decided)
        return after if mine else None

    async def _hand_over(self, state: TaskState) -> None:
        """Say the attempt and submit it. In this order: a crash between is found as an attempt without a job."""
        # The first attempt is said by the dispatch stage, whose event is delivered until it is.
        if state.attempt > 1:
            await self._say(state, task_state.status(state), attempts.dispatched(state, self._store))
        await attempts.submit(
            state,
            store=self._store,
            executors=self._executors,
            projects=self._projects,
            grace_seconds=self._grace_seconds,
        )

    async def _cancel(self, state: TaskState) -> None:
        executor = self._executors.of(state.executor)
        await executor.cancel(state.task_id, state.attempt, self._grace_seconds)

    async def _say(self, state: TaskState, *follow_ons: FollowOn) -> None:
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
            traceparent=state.traceparent,
        )
        key = f"{state.task_id}/{state.attempt}"
        events = complete(follow_ons, cause=cause, stage=STAGE, version="-", business_key=key, now=self._clock.now())
        await self._publisher.publish(events)
