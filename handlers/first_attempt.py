"""A task that has all it needs: admitted or refused, planned, its first attempt begun and handed to its executor."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from contracts.task import Phase, TaskForm
from contracts.training import Failure
from handlers import attempts, compare_and_set, layout, quotes, settlement, task_state
from handlers.admission import Admission, admit
from handlers.datasets import KnownDataset
from handlers.errors import Unavailable
from handlers.outcome import Decision
from handlers.planning.build import build_plan
from handlers.planning.plan import Plan
from handlers.ports.catalog import Catalog
from handlers.ports.clock import Clock
from handlers.ports.executors import Choice, Executors
from handlers.ports.planner import Planner
from handlers.ports.store import ObjectStore
from handlers.ports.tokens import TokenCounter
from handlers.submissions import Judged
from handlers.task_data import wanted_data
from handlers.task_state import WITH_JOB, TaskState
from handlers.tenancy import reading
from handlers.tenancy.projects import Projects


@dataclass(frozen=True, kw_only=True)
class FirstAttempt:
    """Begins first attempts, over its ports. May be called again after a crash anywhere in it, and by two at once.

    The plan is written once, with the quote that was made of the same data: whoever comes later, with other data or
    prices, goes on with that one.
    """

    store: ObjectStore
    catalog: Catalog
    tokens: TokenCounter
    planner: Planner
    executors: Executors
    clock: Clock
    projects: Projects
    cancel_grace_seconds: float
    quote_valid_seconds: float

    async def begin(
        self,
        form: TaskForm,
        judged: Judged,
        ready: Mapping[str, KnownDataset],
        found: TaskState,
        submitted_at: datetime,
        traceparent: str | None = None,
    ) -> Decision:
        """Return what became of the task: dispatched, refused, or ended before it came to that.

        ``found`` is its state, ``ready`` the reports on its datasets: all of them, where the task has not ended.
        ``traceparent`` is the place in a trace that its jobs get.
        Raises Unavailable where the bucket does not answer, Transient where a process was killed.
        """
        if found.attempt:
            return await self._dispatched(found)  # by one that crashed before its receipt
        if found.phase.terminal:
            return _undispatched(found)
        assert judged.model is not None
        citation = await quotes.cited(self.store, form.quote_id, submitted_at)
        own = wanted_data(form, self.catalog).own_ids()
        kept_out = reading.forbidden(ready, own, form.project, self.projects, self.store)
        admission = await admit(
            form, judged, judged.model, ready, self.catalog, self.tokens, self.planner, citation, kept_out
        )
        if admission.refused:
            plan, state = None, await self._refused(form.task_id, admission.refused)
        else:
            plan = await self._planned(form, judged, admission)
            state = await self._begun(plan, traceparent)
        return await self._dispatched(state, plan) if state.attempt else _undispatched(state)

    async def _planned(self, form: TaskForm, judged: Judged, admission: Admission) -> Plan:
        """Return the plan that was written first."""
        assert judged.model is not None
        assert admission.data is not None
        assert admission.quote is not None
        valid_until = self.clock.now() + timedelta(seconds=self.quote_valid_seconds)
        quote = await quotes.keep(self.store, admission.quote, valid_until)
        placed = self.executors.choose(form.project, judged.model.name, form.training_type)
        plan = build_plan(form, admission.data, admission.draws, judged.model, judged.hyperparameters, placed)
        plan = replace(plan, quoted=settlement.quoted(quote))
        return await compare_and_set.first(self.store, layout.task(form.task_id, "plan"), plan)

    async def _refused(self, task_id: str, why: Failure) -> TaskState:
        return await self._decided(task_id, lambda state: attempts.ended(state, why))

    async def _begun(self, plan: Plan, traceparent: str | None) -> TaskState:
        def begun(state: TaskState) -> TaskState:
            placed = Choice(plan.executor, plan.resources)
            begins = attempts.begun(state, placed, reason="dispatched")
            return replace(begins, quoted=plan.quoted, traceparent=traceparent)

        return await self._decided(plan.task_id, begun)

    async def _decided(self, task_id: str, change: Callable[[TaskState], TaskState]) -> TaskState:
        """Change a task that nobody decided yet: a crash after the change must not begin a second attempt."""

        def undecided(state: TaskState | None) -> TaskState | None:
            return change(state) if state is not None and state.phase is Phase.PREPROCESSING else None

        state = await task_state.change(self.store, self.clock, task_id, undecided)
        assert state is not None
        return state

    async def _dispatched(self, state: TaskState, plan: Plan | None = None) -> Decision:
        """Hand the first attempt over, where it is still the current one, and say that it was dispatched."""
        if state.phase in WITH_JOB and state.attempt == 1:
            # Where the engine does not answer: the attempt has begun, and the reconciler hands it over again and again.
            # To wait here would hold up all other tasks that the same event woke, whatever engine they are for.
            with suppress(Unavailable):
                await attempts.submit(
                    state,
                    store=self.store,
                    executors=self.executors,
                    projects=self.projects,
                    grace_seconds=self.cancel_grace_seconds,
                )
        plan = plan or await compare_and_set.read(self.store, layout.task(state.task_id, "plan"), Plan)
        first = replace(state, attempt=1, executor=plan.executor if plan else state.executor)
        quote_id = state.quoted.quote_id if state.quoted else None
        return Decision(name="dispatched", follow_ons=(attempts.dispatched(first, self.store, quote_id),))


def _undispatched(state: TaskState) -> Decision:
    return Decision(name="refused" if state.phase is Phase.FAILED else "ended")
